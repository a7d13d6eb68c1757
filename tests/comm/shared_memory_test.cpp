// Memory between processes: what one writes the other reads, and nothing is left behind.
#include "ringtron/comm/peer_copy/shared_memory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

TEST(SharedMemory, AreZeroAtFirst) {
  const SharedMemory pages = SharedMemory::make(10'000);
  EXPECT_EQ(std::count(pages.data(), pages.data() + pages.size(), std::byte{0}), 10'000);
}

TEST(SharedMemory, AnotherProcessWritesWhatThisOneReads) {
  const SharedMemory pages = SharedMemory::make(4096);
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 1;
    try {
      const SharedMemory same = SharedMemory::open(pages.address(), 4096);
      same.data()[17] = std::byte{42};
      code = same.data() != pages.data() ? 0 : 2;
    } catch (const IoError&) {
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(pages.data()[17], std::byte{42});
}

TEST(SharedMemory, WhatIsNotThereOrOfAnotherSizeIsRefused) {
  const SharedMemory pages = SharedMemory::make(4096);
  EXPECT_THROW(SharedMemory::open(pages.address(), 8192), IoError);
  EXPECT_THROW(SharedMemory::open("/proc/self/fd/987654", 4096), IoError);
  EXPECT_THROW(SharedMemory::open("/dev/null", 4096), IoError);
  EXPECT_THROW(SharedMemory::open("", 4096), IoError);
}

TEST(SharedMemory, MovedOnesStay) {
  SharedMemory pages = SharedMemory::make(4096);
  pages.data()[0] = std::byte{7};
  const SharedMemory moved = std::move(pages);
  EXPECT_EQ(moved.data()[0], std::byte{7});
}

}  // namespace
}  // namespace ringtron
