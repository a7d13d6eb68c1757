// A rank that cannot start is heard by all others, also by those that start much later.
#include "ringtron/comm/early_end.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "ringtron/base/error.h"
#include "ringtron/comm/socket.h"

namespace ringtron {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Far above what anything here takes, far below a test's limit.
constexpr std::chrono::seconds kLong(60);

// Who cannot start stays until it has told all.
TEST(EarlyEnd, IsHeardByRanksThatStartLater) {
  for (const int faulty : {0, 1}) {
    const int port = listen_at("127.0.0.1", 0, true).port;
    const auto options = [&](int rank) {
      return RendezvousOptions{.port = port, .rank = rank, .world_size = 3, .timeout = kLong, .token = "secret", .prefix = ""};
    };
    std::promise<void> late;
    auto told = std::async(std::launch::async, [&] {
      return tell_early_end(options(faulty), "--num-layers -1", [&] { late.set_value(); }, milliseconds(1));
    });
    late.get_future().get();
    const auto meet = [&](int rank) {
      EXPECT_THAT([&] { Rendezvous meeting(options(rank)); },
                  ThrowsMessage<CommError>(HasSubstr(fmt::format("rank {} (host", faulty))));
    };
    auto other = std::async(std::launch::async, [&] { meet(1 - faulty); });
    if (faulty == 0) {
      EXPECT_TRUE(tell_early_end(options(2), "--num-layers -1", [] {}, kLong)) << "rank 0 has said it already";
    } else {
      meet(2);
    }
    other.get();
    EXPECT_FALSE(told.get());
  }
}

}  // namespace
}  // namespace ringtron
