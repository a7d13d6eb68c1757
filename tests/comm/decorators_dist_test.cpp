// CheckedCommunicator sees what differs, CountingCommunicator counts the closed form, FaultyCommunicator
// plays its script.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/checked_communicator.h"
#include "ringtron/comm/decorators/counting_communicator.h"
#include "ringtron/comm/decorators/faulty_communicator.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

DIST_TEST(Checked, LetsAgreeingRanksPass, 1, 2, 3) {
  CheckedCommunicator comm(ranks.world(), ranks.world());
  at::Tensor x = at::ones({4});
  comm.all_reduce(x, ReduceOp::sum).wait();
  EXPECT_TENSOR_EQUAL(x, at::full({4}, static_cast<double>(ranks.size()), at::kFloat));
  if (ranks.size() > 1) {
    at::Tensor got = at::zeros({3});
    const Send send{(ranks.rank() + 1) % ranks.size(), at::ones({3})};
    const Receive receive{(ranks.rank() + ranks.size() - 1) % ranks.size(), got};
    comm.exchange({&send, 1}, {&receive, 1}).wait();
    EXPECT_TENSOR_EQUAL(got, at::ones({3}));
  }
  EXPECT_NO_THROW(comm.barrier());
}

DIST_TEST(Checked, NamesBothSidesOfADifferentShape, 2, 3) {
  CheckedCommunicator comm(ranks.world(), ranks.world());
  at::Tensor x = at::ones({ranks.rank() == 1 ? 5 : 4, 2});
  EXPECT_THAT([&] { comm.all_reduce(x, ReduceOp::sum); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("world group"), HasSubstr("number 1"),
                                             HasSubstr("rank 0: all_reduce sum Float[4,2]"),
                                             HasSubstr("rank 1: all_reduce sum Float[5,2]"))));
}

DIST_TEST(Checked, SeesADifferentOperationTypeOrRoot, 2) {
  CheckedCommunicator comm(ranks.world(), ranks.world());
  at::Tensor x = at::ones({4});
  EXPECT_THAT([&] { ranks.rank() == 0 ? comm.all_reduce(x, ReduceOp::sum) : comm.broadcast(x, 0); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("rank 0: all_reduce"), HasSubstr("rank 1: broadcast from 0"))));
  at::Tensor y = ranks.rank() == 0 ? at::ones({4}) : at::ones({4}, at::kBFloat16);
  EXPECT_THAT([&] { comm.all_reduce(y, ReduceOp::sum); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("Float[4]"), HasSubstr("BFloat16[4]"))));
  EXPECT_THAT([&] { comm.broadcast(x, ranks.rank()); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("from 0"), HasSubstr("from 1"))));
}

DIST_TEST(Checked, SeesAMessageNobodyExpects, 2) {
  CheckedCommunicator comm(ranks.world(), ranks.world());
  const Send send{1, at::ones({3})};
  const std::span<const Send> sends = ranks.rank() == 0 ? std::span(&send, 1) : std::span<const Send>();
  EXPECT_THAT(
      [&] { comm.exchange(sends, {}); },
      ThrowsMessage<CommError>(HasSubstr("rank 0 sends 1 message(s) of 3 elements to rank 1, which expects 0")));
}

DIST_TEST(Checked, SeesThatOneRankSkipsAnExchange, 3) {
  CheckedCommunicator comm(ranks.world(), ranks.world());
  EXPECT_NO_THROW(comm.exchange({}, {}).wait());
  EXPECT_THAT([&] { ranks.rank() == 2 ? comm.barrier() : comm.exchange({}, {}).wait(); },
              ThrowsMessage<CommError>(
                  AllOf(HasSubstr("number 2"), HasSubstr("rank 0: exchange"), HasSubstr("rank 2: barrier"))));
}

DIST_TEST(Checked, SeesAMessageOfNoElementsThatOneEndLacks, 2) {
  CheckedCommunicator comm(ranks.world(), ranks.world());
  at::Tensor got = at::ones({2});
  const std::vector<Send> sends = {{1, at::ones({0})}, {1, at::ones({2})}};
  const std::vector<Receive> receives = {{0, got}};
  EXPECT_THAT([&] { ranks.rank() == 0 ? comm.exchange(sends, {}) : comm.exchange({}, receives); },
              ThrowsMessage<CommError>(HasSubstr("sends 2 message(s) of 2 elements to rank 1, which expects 1 of 2")));
}

DIST_TEST(Checked, SeesMessagesInAnotherOrder, 2) {
  CheckedCommunicator comm(ranks.world(), ranks.world());
  at::Tensor longer = at::ones({5}), shorter = at::ones({2});
  const std::vector<Send> sends = {{1, at::ones({5})}, {1, at::ones({2})}};
  const std::vector<Receive> receives = {{0, shorter}, {0, longer}};
  EXPECT_THAT([&] { ranks.rank() == 0 ? comm.exchange(sends, {}) : comm.exchange({}, receives); },
              ThrowsMessage<CommError>(HasSubstr("their order, types and sizes must agree")));
}

DIST_TEST(Decorators, NameTheInnerGroup, 2) {
  CountingCommunicator counting(ranks.world());
  FaultyCommunicator faulty(counting, {});
  CheckedCommunicator checked(faulty, ranks.world());
  EXPECT_EQ(checked.name(), ranks.world().name());
  EXPECT_EQ(checked.rank(), ranks.rank());
  EXPECT_EQ(checked.size(), 2);
  EXPECT_EQ(checked.global_rank(1), ranks.world().global_rank(1));
  checked.exchange({}, {}).wait();
  EXPECT_EQ(counting.counts().exchange.calls, 1);
  EXPECT_EQ(counting.counts().exchange.bytes, 0);
}

DIST_TEST(Counting, EqualsTheClosedForm, 1, 2, 4) {
  CountingCommunicator comm(ranks.world());
  const int n = ranks.size();
  at::Tensor whole = at::ones({n * 6});
  at::Tensor shard = at::ones({6});
  at::Tensor out = at::ones({n * 6});
  comm.all_reduce(whole, ReduceOp::sum).wait();
  comm.all_gather(shard, whole).wait();
  comm.reduce_scatter(whole, shard, ReduceOp::sum).wait();
  comm.all_to_all(whole, out).wait();
  comm.barrier();
  EXPECT_EQ(comm.counts().all_reduce.bytes, 2 * 24 * (n - 1));
  EXPECT_EQ(comm.counts().all_gather.bytes, 24 * (n - 1));
  EXPECT_EQ(comm.counts().reduce_scatter.bytes, 24 * (n - 1));
  EXPECT_EQ(comm.counts().all_to_all.bytes, 24 * (n - 1));
  EXPECT_EQ(comm.counts().barrier.calls, 1);
  if (n > 1) {
    const Send send{(ranks.rank() + 1) % n, shard};
    at::Tensor got = at::zeros({6});
    const Receive receive{(ranks.rank() + n - 1) % n, got};
    comm.exchange({&send, 1}, {&receive, 1}).wait();
    EXPECT_EQ(comm.counts().exchange.bytes, 24);
  }
}

DIST_TEST(Faulty, ThrowsAtTheScriptedOperation, 2) {
  FaultyCommunicator comm(ranks.world(), {{.operation = 2, .fault = Fault::throw_error}});
  at::Tensor x = at::ones({2});
  comm.all_reduce(x, ReduceOp::sum).wait();
  EXPECT_THAT([&] { comm.barrier(); }, ThrowsMessage<CommError>(HasSubstr("barrier number 2")));
}

}  // namespace
}  // namespace ringtron
