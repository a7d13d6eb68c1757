// Collectives out of exchange() against the group's own, and what the others are told when a rank dies in one.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <csignal>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/faulty_communicator.h"
#include "ringtron/comm/exchange_collectives.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kSliceSizes[] = {0, 1, 7, 130};

// Whole numbers, whose sums are the same in any order.
at::Tensor numbers(const Communicator& group, std::int64_t slice, at::ScalarType type) {
  const auto options = at::TensorOptions().dtype(at::kLong);
  return at::arange(slice * group.size(), options).mul(group.rank() + 3).remainder(11).to(type);
}

struct Results {
  at::Tensor all_reduced, scattered, gathered;
};

Results of_group(Communicator& group, const at::Tensor& input) {
  const std::int64_t slice = input.numel() / group.size();
  const auto own = [&](const at::Tensor& whole) { return whole.narrow(0, slice * group.rank(), slice); };
  Results r{input.clone(), input.clone(), input.clone()};
  group.all_reduce(r.all_reduced).wait();
  at::Tensor sums = at::empty({slice}, input.options());
  group.reduce_scatter(input.clone(), sums).wait();
  own(r.scattered).copy_(sums);
  group.all_gather(own(input).clone(), r.gathered).wait();
  return r;
}

Results by_exchanges(Communicator& group, const at::Tensor& input, std::int64_t most_staged) {
  ExchangeCollectives collectives(group, at::kCPU, most_staged);
  Results r{input.clone(), input.clone(), input.clone()};
  collectives.all_reduce(r.all_reduced).wait();
  collectives.reduce_scatter(r.scattered).wait();
  collectives.all_gather(r.gathered).wait();
  return r;
}

void expect_equal(testing::RankContext& ranks, at::ScalarType type) {
  for (const std::int64_t slice : kSliceSizes) {
    for (const std::int64_t most_staged : {std::int64_t{1}, std::int64_t{12}, std::int64_t{1} << 24}) {
      const at::Tensor input = numbers(ranks.world(), slice, type);
      const Results expected = of_group(ranks.world(), input), got = by_exchanges(ranks.world(), input, most_staged);
      EXPECT_TRUE(got.all_reduced.equal(expected.all_reduced)) << slice << " of " << most_staged;
      EXPECT_TRUE(got.scattered.equal(expected.scattered)) << slice << " of " << most_staged;
      EXPECT_TRUE(got.gathered.equal(expected.gathered)) << slice << " of " << most_staged;
    }
  }
}

DIST_TEST(ExchangeCollectives, EqualTheGroupsOwn, 1, 2, 3, 4) { expect_equal(ranks, at::kFloat); }
DIST_TEST(ExchangeCollectives, EqualTheGroupsOwnInFp64, 3) { expect_equal(ranks, at::kDouble); }

// That the comparison sees a share which one rank lacks.
DIST_TEST(ExchangeCollectives, AMissingShareShows, 3) {
  const at::Tensor input = numbers(ranks.world(), 7, at::kFloat).add_(1);
  const Results expected = of_group(ranks.world(), input);
  const Results got = by_exchanges(ranks.world(), ranks.rank() == 1 ? at::zeros_like(input) : input, 4);
  EXPECT_FALSE(got.all_reduced.equal(expected.all_reduced));
  EXPECT_FALSE(got.gathered.equal(expected.gathered));
}

DIST_TEST(ExchangeCollectives, NoCopiesOnACpu, 2) { EXPECT_FALSE(uses_copy_engines(ranks.world(), at::kCPU)); }

// In the second message of several.
DIST_TEST(ExchangeCollectives, ADeadRankIsACommError, 3) {
  FaultyCommunicator faulty(ranks.world(), {{.operation = 2, .fault = Fault::call, .action = [&] {
                                               if (ranks.rank() != 1) return;
                                               ranks.announce_death();
                                               std::raise(SIGKILL);
                                             }}});
  ranks.world().barrier();
  ranks.meet();
  ExchangeCollectives collectives(faulty, at::kCPU, /*most_staged=*/20);
  at::Tensor whole = numbers(ranks.world(), 130, at::kFloat);
  try {
    collectives.all_reduce(whole).wait();
    ADD_FAILURE() << "expected an error";
  } catch (const CommError& error) {
    EXPECT_THAT(error.what(), HasSubstr("exchange"));
  }
}

}  // namespace
}  // namespace ringtron
