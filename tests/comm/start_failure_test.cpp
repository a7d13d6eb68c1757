// A rank that cannot start is heard by all others, also by those that start much later.
#include "ringtron/comm/rendezvous/start_failure.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <future>

#include "ringtron/base/error.h"
#include "ringtron/comm/rendezvous/socket.h"

namespace ringtron {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Far above what anything here takes, far below a test's limit.
constexpr std::chrono::seconds kLong(60);

RendezvousOptions options_of(int rank, int port, bool launcher_hosts_store) {
  return {.port = port,
          .rank = rank,
          .world_size = 3,
          .timeout = kLong,
          .launcher_hosts_store = launcher_hosts_store,
          .token = launcher_hosts_store ? "" : "secret",
          .prefix = "attempt"};
}

// What rank 0 or rank 1 of three says is heard by the two others, which come when it has waited for them already.
void expect_late_ranks_hear(int faulty, int port, bool launcher_hosts_store) {
  const auto options = [&](int rank) { return options_of(rank, port, launcher_hosts_store); };
  std::promise<void> late;
  auto told = std::async(std::launch::async, [&] {
    return report_start_failure(options(faulty), "--num-layers -1", [&] { late.set_value(); }, milliseconds(1));
  });
  ASSERT_EQ(late.get_future().wait_for(kLong), std::future_status::ready) << "it does not wait";
  const auto meet = [&](int rank) {
    EXPECT_THAT([&] { Rendezvous meeting(options(rank)); },
                ThrowsMessage<CommError>(HasSubstr(fmt::format("rank {} (host", faulty))));
  };
  auto other = std::async(std::launch::async, [&] { meet(1 - faulty); });
  if (faulty == 0) {
    EXPECT_TRUE(report_start_failure(options(2), "--num-layers -1", [] {}, kLong)) << "rank 0 has said it already";
  } else {
    meet(2);
  }
  other.get();
  EXPECT_FALSE(told.get());
}

TEST(StartFailure, IsHeardByRanksThatStartLater) {
  for (const int faulty : {0, 1}) {
    const int port = listen_at("127.0.0.1", 0, true).port;  // free again at the end of this line
    expect_late_ranks_hear(faulty, port, false);
  }
}

TEST(StartFailure, IsHeardThroughALaunchersStore) {
  for (const int faulty : {0, 1}) {
    c10d::TCPStoreOptions server;
    server.isServer = true;
    server.port = 0;
    server.waitWorkers = false;
    const auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", server);
    expect_late_ranks_hear(faulty, store->getPort(), true);
  }
}

}  // namespace
}  // namespace ringtron
