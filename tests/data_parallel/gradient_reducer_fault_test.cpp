// A replica that dies inside the gradient reduction: the others get a CommError, not a hang.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <csignal>
#include <string>

#include "ringtron/base/error.h"
#include "ringtron/data_parallel/gradient_reducer.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;

enum class DiesIn { backward, gather, overlapped_gather };

// What the two ranks that live are told when rank 1 dies.
std::string message_of_death(testing::RankContext& ranks, bool sharded, DiesIn place) {
  Parameter early, late;
  for (Parameter* p : {&early, &late}) {
    p->name = p == &early ? "early" : "late";
    p->shard.global_shape = {1 << 16};
    p->value = at::ones({1 << 16}).set_requires_grad(true);
  }
  GradientReducer reducer({&early, &late}, [&](AxisSet) -> Communicator& { return ranks.world(); },
                          {.overlap = true,
                           .bucket_size = 1,
                           .group_size = 1,
                           .sharded = sharded,
                           .overlap_gather = place == DiesIn::overlapped_gather});
  const auto die = [&](DiesIn now) {
    if (ranks.rank() != 1 || now != place) return;
    ranks.announce_death();
    std::raise(SIGKILL);
  };
  ranks.world().barrier();
  ranks.meet();
  try {
    reducer.begin_step(/*micro_batches=*/1);
    late.value.sum().backward();  // launches the first bucket's reduction
    die(DiesIn::backward);
    early.value.sum().backward();
    reducer.finish();
    die(DiesIn::gather);
    die(DiesIn::overlapped_gather);
    reducer.gather_values();
    await_values({&early, &late});
  } catch (const CommError& error) {
    return error.what();
  }
  return "";
}

DIST_TEST(GradientReducerFault, DeadReplicaIsACommError, 3) {
  EXPECT_THAT(message_of_death(ranks, /*sharded=*/false, DiesIn::backward), HasSubstr("all_reduce"));
}

DIST_TEST(GradientReducerFault, DeadOwnerInTheReductionIsACommError, 3) {
  EXPECT_THAT(message_of_death(ranks, /*sharded=*/true, DiesIn::backward), HasSubstr("reduce_scatter"));
}

DIST_TEST(GradientReducerFault, DeadOwnerInTheGatherIsACommError, 3) {
  EXPECT_THAT(message_of_death(ranks, /*sharded=*/true, DiesIn::gather), HasSubstr("all_gather"));
}

// The layer that waits for the values is told.
DIST_TEST(GradientReducerFault, DeadOwnerInTheGatherDuringTheForwardIsACommError, 3) {
  EXPECT_THAT(message_of_death(ranks, /*sharded=*/true, DiesIn::overlapped_gather), HasSubstr("all_gather"));
}

}  // namespace
}  // namespace ringtron
