// Who may talk to a run: ranks that prove its token and claim a free number; everybody else costs nothing and changes
// nothing.
#include "ringtron/comm/rendezvous/rendezvous_server.h"

#include <dirent.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/comm/rendezvous/rendezvous_client.h"
#include "tests/comm/rendezvous_run.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(RendezvousServer, RanksMeetAndShareKeys) {
  Pair run;
  EXPECT_EQ(run.rank_0->liveness().who(1), "rank 1 (host node1, pid 1001)");
  auto waits = std::async(std::launch::async, [&] {
    return run.rank_0->ask({.op = StoreRequest::Op::get, .keys = {"x", "y"}}, kLong).value;
  });
  run.rank_1->ask({.op = StoreRequest::Op::set, .keys = {"y"}, .values = {"2"}}, kLong);
  run.rank_1->ask({.op = StoreRequest::Op::set, .keys = {"x"}, .values = {"1"}}, kLong);
  EXPECT_EQ(waits.get(), "1");
  EXPECT_THROW(run.rank_0->ask({.op = StoreRequest::Op::get, .keys = {"never"}}, milliseconds(10)), CommError);
  run.expect_well();
}

TEST(RendezvousServer, WrongTokenIsRefusedAtOnce) {
  const auto server = open(2);
  EXPECT_THAT(
      [&] { join(*server, claim(1, 2, "node7"), "other"); },
      ThrowsMessage<ConfigError>(AllOf(HasSubstr("another run is using the port"), HasSubstr("host node0, pid 1000"),
                                       HasSubstr("rank 1 (host node7, pid 1001)"))));
  const auto rank_0 = join(*server, claim(0, 2, "node0"));
  const auto rank_1 = join(*server, claim(1, 2));  // the number is still free
  EXPECT_NO_THROW(rank_0->wait_for_all());
}

// Each contradiction ends the start of all that are there, and of the one that comes, also of one that cannot start
// because of it (a batch that another world size does not divide) and says so.
void expect_no_start(Claim second, const std::vector<std::string>& words) {
  for (const bool cannot : {false, true}) {
    const auto server = open(3);
    const auto rank_0 = join(*server, claim(0, 3, "node0")), rank_1 = join(*server, claim(1, 3, "node1"));
    std::string ended;
    if (cannot) {
      EXPECT_EQ(send_start_failure({"127.0.0.1", server->port(), "secret"}, second, "a fault", kLong), "");
    } else {
      for (const std::string& word : words)
        EXPECT_THAT([&] { join(*server, second); }, ThrowsMessage<ConfigError>(HasSubstr(word)));
    }
    try {
      rank_1->wait_for_all();
    } catch (const CommError& error) {
      ended = error.what();
    }
    for (const std::string& word : words) EXPECT_THAT(ended, HasSubstr(word));
  }
}

TEST(RendezvousServer, RankTwice) {
  expect_no_start(claim(1, 3, "node9"), {"both say that they are rank 1", "host node1, pid 1001", "host node9"});
}
// Another run at the port, whatever its size and binary: the one that waits there goes on waiting.
TEST(RendezvousServer, SecondRankZeroIsRefusedAloneWhileRanksAreAwaited) {
  const auto server = open(2);
  const auto rank_0 = join(*server, claim(0, 2, "node0"));
  ::testing::internal::CaptureStderr();
  EXPECT_THAT([&] { join(*server, claim(0, 2, "node9")); },
              ThrowsMessage<ConfigError>(
                  AllOf(HasSubstr("both say that they are rank 0"), HasSubstr("host node0"), HasSubstr("host node9"))));
  EXPECT_THAT([&] { join(*server, claim(0, 3, "node9")); }, ThrowsMessage<ConfigError>(HasSubstr("world size of 3")));
  EXPECT_THROW(join(*server, claim(0, 2, "node9", "b2")), ConfigError);
  const auto rank_1 = join(*server, claim(1, 2, "node1"));
  EXPECT_NO_THROW(rank_0->wait_for_all());
  EXPECT_NO_THROW(rank_1->wait_for_all());
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("host node9, pid 1000"), HasSubstr("is refused")));
}
// Not even before rank 0 has come over its own connection.
TEST(RendezvousServer, NobodyTakesThePlaceOfRankZero) {
  const auto server = open(2);
  EXPECT_THAT([&] { join(*server, claim(0, 2, "node9")); },
              ThrowsMessage<ConfigError>(HasSubstr("both say that they are rank 0")));
  const auto rank_0 = join(*server, claim(0, 2, "node0")), rank_1 = join(*server, claim(1, 2, "node1"));
  EXPECT_NO_THROW(rank_0->wait_for_all());
}

TEST(RendezvousServer, LargerWorld) {
  expect_no_start(claim(2, 4, "node9"), {"rank 2 (host node9, pid 1002)", "world size of 4", "with 3"});
}
TEST(RendezvousServer, SmallerWorld) {
  expect_no_start(claim(1, 2, "node9"), {"host node9", "world size of 2", "with 3"});
}
TEST(RendezvousServer, RankOutsideOfItsWorld) {
  expect_no_start(claim(3, 3, "node9"), {"host node9", "start ranks 0 to 2"});
  expect_no_start(claim(-1, 3, "node9"), {"host node9", "start ranks 0 to 2"});
}
TEST(RendezvousServer, OtherBinary) {
  expect_no_start(claim(2, 3, "node9", "b2"), {"host node9", "another binary", "b1", "b2"});
}

TEST(RendezvousServer, LateSecondClaimIsRefusedAlone) {
  Pair run;
  EXPECT_THAT([&] { join(*run.server, claim(1, 2, "node9")); },
              ThrowsMessage<ConfigError>(
                  AllOf(HasSubstr("both say that they are rank 1"), HasSubstr("node1"), HasSubstr("node9"))));
  EXPECT_THROW(join(*run.server, claim(2, 3)), ConfigError);
  run.expect_well();
}

TEST(RendezvousServer, DeathDuringTheStartIsToldAtOnce) {
  const auto server = open(3);
  const auto rank_0 = join(*server, claim(0, 3, "node0"));
  auto rank_1 = join(*server, claim(1, 3, "node1"));
  auto waits = std::async(std::launch::async, [&] { rank_0->wait_for_all(); });
  rank_1->leave(true);
  EXPECT_THAT([&] { waits.get(); },
              ThrowsMessage<CommError>(HasSubstr("rank 1 stopped with an error (host node1, pid 1001)")));
}

TEST(RendezvousServer, DeathEndsWaitsForKeys) {
  Pair run;
  auto waits =
      std::async(std::launch::async, [&] { run.rank_0->ask({.op = StoreRequest::Op::get, .keys = {"never"}}, kLong); });
  run.rank_1->leave(true);
  EXPECT_THAT([&] { waits.get(); }, ThrowsMessage<CommError>(HasSubstr("a rank was lost")));
}

TEST(RendezvousServer, EndOfRankZeroIsToldAtOnce) {
  Pair run;
  run.server->stop(true);
  EXPECT_EQ(describe(run.rank_1->liveness().losses(kLong)), "rank 0 stopped with an error (host node0, pid 1000)");
}

TEST(RendezvousServer, MissingRanksAreNamedOnAllRanks) {
  const auto server = open(4);
  const auto rank_0 = join(*server, claim(0, 4, "node0"));
  const auto rank_2 = join(*server, claim(2, 4), "secret", seconds(3));
  EXPECT_THAT([&] { rank_2->wait_for_all(); },
              ThrowsMessage<CommError>(HasSubstr("rank(s) 1, 3 never came to rank 0 (host node0")));
  EXPECT_THAT([&] { rank_0->wait_for_all(); }, ThrowsMessage<CommError>(HasSubstr("rank(s) 1, 3 never came")));
}

TEST(RendezvousServer, RankZeroThatNeverComes) {
  const Listeners nobody = listen_at("127.0.0.1", 0, true);  // takes connections into its queue, and says nothing
  EXPECT_THAT([&] { RendezvousClient({"127.0.0.1", nobody.port, ""}, claim(1, 2), milliseconds(300)); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("within 0.3 s, it did not come"), HasSubstr("says nothing"))));
}

TEST(RendezvousServer, PortInUse) {
  const auto server = open(2);
  EXPECT_TRUE(listen_at("127.0.0.1", server->port(), true).port_in_use);
}

// A rank with a wrong command line never joins; nobody waits for it.
TEST(RendezvousServer, ARankThatCannotStartEndsTheStartForAll) {
  const auto server = open(3);
  const RendezvousAddress address{"127.0.0.1", server->port(), "secret"};
  const auto rank_0 = join(*server, claim(0, 3, "node0"));
  EXPECT_EQ(send_start_failure(address, claim(1, 3, "node1"), "--num-layers -1", kLong), "") << "the first to say it";
  EXPECT_THAT([&] { rank_0->wait_for_all(); },
              ThrowsMessage<CommError>(
                  HasSubstr("rank 1 (host node1, pid 1001) ended before the ranks had met: --num-layers -1")));
  EXPECT_EQ(send_start_failure(address, claim(2, 3), "--num-layers -1", kLong), "--num-layers -1")
      << "it need not say it again";
  EXPECT_THAT([&] { join(*server, claim(2, 3)); }, ThrowsMessage<CommError>(HasSubstr("--num-layers -1")));
}

// Rank 0, which reads the end over a connection of its own, leaves only when the rank that is still to come has heard
// it. Many times: the order of two threads decides.
TEST(RendezvousServer, StaysForTheRankThatIsStillToCome) {
  for (int round = 0; round < 100; ++round) {
    const auto server = open(3);
    const RendezvousAddress address{"127.0.0.1", server->port(), "secret"};
    const auto rank_0 = join(*server, claim(0, 3, "node0"));
    const auto said =
        std::async(std::launch::async, [&] { send_start_failure(address, claim(1, 3), "--num-layers -1", kLong); });
    EXPECT_THROW(rank_0->wait_for_all(), CommError);
    ASSERT_FALSE(server->wait_until_heard(milliseconds(0))) << "round " << round;
  }
}

TEST(RendezvousServer, RankZeroThatCannotStartTellsAllWhoCome) {
  RendezvousServer server(listen_at("127.0.0.1", 0, true),
                          {.own = claim(0, 3, "node0"), .token = "secret", .cannot = "--num-layers -1"});
  EXPECT_FALSE(server.wait_until_heard(milliseconds(1)));
  auto heard = std::async(std::launch::async, [&] { return server.wait_until_heard(kLong); });
  EXPECT_EQ(send_start_failure({"127.0.0.1", server.port(), "secret"}, claim(1, 3), "--num-layers -1", kLong),
            "--num-layers -1");
  EXPECT_THAT([&] { join(server, claim(2, 3)); },
              ThrowsMessage<CommError>(
                  HasSubstr("rank 0 (host node0, pid 1000) ended before the ranks had met: --num-layers -1")));
  EXPECT_TRUE(heard.get());
}

// Who does not belong to the run ends nothing in it.
TEST(RendezvousServer, AnotherRunsEndIsNotOurs) {
  Pair run;
  const RendezvousAddress address{"127.0.0.1", run.server->port(), "secret"};
  EXPECT_EQ(send_start_failure(address, claim(1, 2), "a fault", kLong), "") << "all have come";
  run.expect_well();
  const auto server = open(2);
  const auto rank_0 = join(*server, claim(0, 2, "node0"));
  EXPECT_EQ(send_start_failure({"127.0.0.1", server->port(), "other"}, claim(1, 2), "a fault", kLong), "")
      << "another run";
  EXPECT_EQ(send_start_failure({"127.0.0.1", server->port(), "secret"}, claim(0, 2, "node9"), "a fault", kLong), "")
      << "another rank 0";
  const auto rank_1 = join(*server, claim(1, 2));
  EXPECT_NO_THROW(rank_0->wait_for_all());
  EXPECT_EQ(send_start_failure({"127.0.0.1", 1, ""}, claim(1, 2), "a fault", milliseconds(50)), std::nullopt)
      << "nobody is there";
}

}  // namespace
}  // namespace ringtron
