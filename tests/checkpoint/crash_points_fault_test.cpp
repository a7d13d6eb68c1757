// A save that ends at its k-th file operation, for every k: what was complete stays complete and loads, and
// the next save over the leftovers works.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "tests/checkpoint/faulty_file_system.h"
#include "tests/checkpoint/toy_state.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;

constexpr int kTp = 2;

// Few tensors, so that a sweep over all operations is short.
std::vector<ToyTensor> small_state(std::uint64_t seed) {
  auto state = toy_state(seed);
  std::erase_if(state, [](const ToyTensor& tensor) {
    return tensor.name.find("fc1.weight") == std::string::npos && tensor.name != "optimizer.step";
  });
  return state;
}

bool newest_is(const std::filesystem::path& folder, std::int64_t iteration, const std::vector<ToyTensor>& state) {
  const auto search = find_newest_checkpoint(folder);
  if (!search.newest || search.newest->iteration != iteration || !search.damaged.empty()) return false;
  CheckpointReader reader(search.newest->folder);
  reader.verify();
  return loads_equal(reader, state, 0, 1);
}

// Runs the save in a child process that may end in the middle of it; returns its exit code.
int save_in_child(Fault fault, int at, const std::filesystem::path& folder, std::int64_t iteration,
                  const std::vector<ToyTensor>& state, Beside beside) {
  const pid_t child = ::fork();
  if (child == 0) {
    FaultyFileSystem files(fault, at);
    try {
      save_state(files, folder, iteration, state, kTp, 1, beside);
    } catch (const IoError&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int operations_of_save(std::int64_t iteration) {
  TempDir dir;
  DiskFileSystem disk;
  save_state(disk, dir.path(), 10, small_state(1), kTp);
  FaultyFileSystem counting;
  save_state(counting, dir.path(), iteration, small_state(2), kTp);
  return counting.operations();
}

// 10 is there; then `iteration` is saved, with a crash at every point. After 10 was saved again, it may be
// either one.
void sweep_crashes(std::int64_t iteration, Beside beside) {
  const auto before = small_state(1), after = small_state(2), last = small_state(3);
  const int operations = operations_of_save(iteration);
  ASSERT_GT(operations, 20);
  int old_found = 0, new_found = 0;
  for (int k = 1; k <= operations; ++k) {
    TempDir dir;
    DiskFileSystem disk;
    save_state(disk, dir.path(), 10, before, kTp);
    ASSERT_EQ(save_in_child(Fault::crash, k, dir.path(), iteration, after, beside), FaultyFileSystem::kCrashExitCode);
    const bool is_old = newest_is(dir.path(), 10, before), is_new = newest_is(dir.path(), iteration, after);
    EXPECT_TRUE(is_old || is_new) << "crash at operation " << k << " of " << operations;
    (is_new ? new_found : old_found) += 1;
    // A second crash at the same point, over the leftovers of the first; then a clean save.
    save_in_child(Fault::crash, k, dir.path(), iteration, after, beside);
    EXPECT_TRUE(newest_is(dir.path(), 10, before) || newest_is(dir.path(), iteration, after)) << "second crash, " << k;
    save_state(disk, dir.path(), 20, last, kTp);
    EXPECT_TRUE(newest_is(dir.path(), 20, last)) << "save over the leftovers of operation " << k;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
      EXPECT_FALSE(entry.path().filename().string().starts_with(".iter_")) << entry.path();
    }
  }
  EXPECT_GT(old_found, 0);
  EXPECT_GT(new_found, 0);
}

TEST(CrashPoints, SaveOfANewIteration) { sweep_crashes(15, Beside::no); }

TEST(CrashPoints, SaveOfTheSameIterationAgain) { sweep_crashes(10, Beside::no); }

TEST(CrashPoints, ShardsWrittenAtOnce) { sweep_crashes(15, Beside::threads); }

// Disk full, or any other error, at every operation: the save either reports it or is complete.
void sweep_errors(std::int64_t iteration) {
  const auto before = small_state(1), after = small_state(2);
  const int operations = operations_of_save(iteration);
  int reported = 0;
  for (int k = 1; k <= operations; ++k) {
    TempDir dir;
    DiskFileSystem disk;
    save_state(disk, dir.path(), 10, before, kTp);
    FaultyFileSystem files(Fault::io_error, k);
    bool failed = false;
    try {
      save_state(files, dir.path(), iteration, after, kTp);
    } catch (const IoError&) {
      failed = true;
    }
    reported += failed;
    const bool is_old = newest_is(dir.path(), 10, before), is_new = newest_is(dir.path(), iteration, after);
    EXPECT_TRUE(failed ? is_old || is_new : is_new) << "error at operation " << k;
    EXPECT_FALSE(std::filesystem::exists(dir / ".iter_0000015.partial")) << "error at operation " << k;
    save_state(disk, dir.path(), iteration, after, kTp);  // tried again
    EXPECT_TRUE(newest_is(dir.path(), iteration, after)) << "after an error at operation " << k;
  }
  EXPECT_GT(reported, operations / 2);
}

TEST(CrashPoints, ErrorsOfANewIteration) { sweep_errors(15); }

TEST(CrashPoints, ErrorsOfTheSameIterationAgain) { sweep_errors(10); }

TEST(CrashPoints, APublishedHalfFileWouldBeNoticed) {  // negative control: the checks above can fail
  TempDir dir;
  DiskFileSystem disk;
  save_state(disk, dir.path(), 10, small_state(1), kTp);
  EXPECT_FALSE(newest_is(dir.path(), 10, small_state(2)));
  std::filesystem::resize_file(dir / "iter_0000010/shard_00000.safetensors", 50);
  EXPECT_FALSE(newest_is(dir.path(), 10, small_state(1)));
}

}  // namespace
}  // namespace ringtron
