// A rank that is killed, hangs or never comes gives every other rank a CommError that says what and who.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/faulty_communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Step = void (*)(Communicator& comm);

void do_all_reduce(Communicator& comm) {
  at::Tensor x = at::ones({100000});
  comm.all_reduce(x).wait();
}
void do_all_gather(Communicator& comm) {
  at::Tensor whole = at::zeros({comm.size() * 1000});
  comm.all_gather(at::ones({1000}), whole).wait();
}
void do_reduce_scatter(Communicator& comm) {
  at::Tensor shard = at::zeros({1000});
  comm.reduce_scatter(at::ones({comm.size() * 1000}), shard).wait();
}
void do_all_to_all(Communicator& comm) {
  at::Tensor out = at::zeros({comm.size() * 1000});
  comm.all_to_all(at::ones({comm.size() * 1000}), out).wait();
}
void do_exchange(Communicator& comm) {
  at::Tensor got = at::zeros({1000});
  const Send send{(comm.rank() + 1) % comm.size(), at::ones({1000})};
  const Receive receive{(comm.rank() + comm.size() - 1) % comm.size(), got};
  comm.exchange({&send, 1}, {&receive, 1}).wait();
}
void do_broadcast(Communicator& comm) {
  at::Tensor x = at::ones({1000});
  comm.broadcast(x, 0).wait();
}
void do_barrier(Communicator& comm) { comm.barrier(); }

// Rank `victim` dies in its third operation; the others go on until they notice, and say who died.
void kill_in(testing::RankContext& ranks, int victim, const char* operation, Step step) {
  std::vector<ScriptedFault> script;
  if (ranks.rank() == victim) script.push_back({.operation = 3, .fault = Fault::kill});
  FaultyCommunicator comm(ranks.world(), std::move(script));
  step(comm);
  step(comm);
  ranks.meet();
  if (ranks.rank() == victim) ranks.announce_death();
  const auto go_on = [&] {
    for (int i = 0; i < 1000; ++i) step(comm);  // a rank that needs nothing from the victim may get through a few
  };
  EXPECT_THAT(go_on,
              ThrowsMessage<CommError>(AllOf(HasSubstr("world group"), HasSubstr(operation), HasSubstr("number "),
                                             HasSubstr(fmt::format("rank {} died", victim)))));
}

DIST_TEST(PeerLoss, InAllReduce, 4) { kill_in(ranks, 2, "all_reduce", do_all_reduce); }
DIST_TEST(PeerLoss, InAllGather, 4) { kill_in(ranks, 1, "all_gather", do_all_gather); }
DIST_TEST(PeerLoss, InReduceScatter, 4) { kill_in(ranks, 3, "reduce_scatter", do_reduce_scatter); }
DIST_TEST(PeerLoss, InAllToAll, 4) { kill_in(ranks, 2, "all_to_all", do_all_to_all); }
DIST_TEST(PeerLoss, InExchange, 4) { kill_in(ranks, 1, "exchange", do_exchange); }
DIST_TEST(PeerLoss, InBroadcast, 4) { kill_in(ranks, 2, "broadcast", do_broadcast); }
DIST_TEST(PeerLoss, InBarrier, 4) { kill_in(ranks, 3, "barrier", do_barrier); }
DIST_TEST(PeerLoss, OfRankZero, 4) { kill_in(ranks, 0, "all_reduce", do_all_reduce); }

DIST_TEST(PeerLoss, HangEndsWithTheTimeout, 3) {
  ranks.meet();  // the short timeout must not run while processes start
  ranks.options().timeout = std::chrono::seconds(4);
  Communicator& comm = ranks.world();
  comm.barrier();
  if (ranks.rank() == 1) {
    std::this_thread::sleep_for(std::chrono::seconds(6));
    EXPECT_THROW(do_all_reduce(comm), CommError);
    return;
  }
  EXPECT_THAT([&] { do_all_reduce(comm); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("all_reduce number 2"), HasSubstr("4000 ms"))));
  EXPECT_THROW(comm.exchange({}, {}), CommError);  // of no further use, even with nothing to send
}

// The time of an exchange counts once, not anew for each message that comes.
DIST_TEST(PeerLoss, LateMessageDoesNotProlongTheTimeout, 3) {
  ranks.meet();
  ranks.options().timeout = std::chrono::seconds(6);
  Communicator& comm = ranks.world();
  comm.barrier();
  at::Tensor late = at::ones({10}), never = at::ones({10});
  if (ranks.rank() == 0) {
    const std::vector<Receive> receives = {{1, late}, {2, never}};
    const auto start = SteadyClock::now();
    EXPECT_THAT([&] { comm.exchange({}, receives).wait(); },
                ThrowsMessage<CommError>(HasSubstr("waiting for rank 2 (host ")));
    EXPECT_LT(seconds_since(start), 9);  // 11 if the second began to count when the first had come
  } else if (ranks.rank() == 1) {
    std::this_thread::sleep_for(std::chrono::seconds(5));
    const Send send{0, late};
    EXPECT_NO_THROW(comm.exchange({&send, 1}, {}).wait());
  } else {
    EXPECT_NO_THROW(comm.exchange({}, {}).wait());
  }
  ranks.meet();
}

// Also before there is any group: the wait for its members' addresses ends with the death, not with the timeout.
DIST_TEST(PeerLoss, WhileAGroupConnects, 3) {
  const Rendezvous& met = ranks.rendezvous();
  ranks.meet();
  if (ranks.rank() == 1) {
    ranks.announce_death();
    std::raise(SIGKILL);
  }
  const auto start = SteadyClock::now();
  EXPECT_THAT([&] { make_communicator(Backend::gloo, "world", {0, 1, 2}, met); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("connect"), HasSubstr("rank 1 died (host "))));
  EXPECT_LT(seconds_since(start), 30);  // half of the timeout
}

DIST_TEST(PeerLoss, RankThatNeverComesIsNamed, 3) {
  ranks.meet();
  ranks.options().timeout = std::chrono::seconds(3);
  if (ranks.rank() == 1) {
    EXPECT_EQ(ranks.rank(), 1);
    return;
  }
  EXPECT_THAT([&] { ranks.rendezvous(); }, ThrowsMessage<CommError>(AllOf(HasSubstr("expected 3 ranks within 3 s"),
                                                                          HasSubstr("rank(s) 1 never came"))));
}

// A write to a peer that has just died must be an error, not the end of the process.
DIST_TEST(PeerLoss, BrokenPipeIsNoDeath, 2) {
  ranks.world().barrier();
  struct sigaction action{};
  ASSERT_EQ(::sigaction(SIGPIPE, nullptr, &action), 0);
  EXPECT_NE(action.sa_handler, SIG_DFL);
}

DIST_TEST(PeerLoss, RankThatFailsIsNamed, 3) {
  Communicator& comm = ranks.world();
  comm.barrier();
  ranks.meet();
  if (ranks.rank() == 2) {
    ranks.rendezvous().liveness()->mark_failed();
    EXPECT_EQ(comm.size(), 3);
    return;  // the destructors take the rank out of the group
  }
  EXPECT_THAT([&] { do_all_reduce(comm); }, ThrowsMessage<CommError>(HasSubstr("rank 2 stopped with an error")));
}

}  // namespace
}  // namespace ringtron
