// A replica that dies inside the gradient reduction: the others get a CommError, not a hang.
#include <ATen/ATen.h>

#include <csignal>
#include <string>

#include "ringtron/base/error.h"
#include "ringtron/data_parallel/gradient_reducer.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

DIST_TEST(GradientReducerFault, DeadReplicaIsACommError, 3) {
  Parameter early, late;
  for (Parameter* p : {&early, &late}) {
    p->name = p == &early ? "early" : "late";
    p->shard.global_shape = {1 << 16};
    p->value = at::ones({1 << 16}).set_requires_grad(true);
  }
  GradientReducer reducer({&early, &late}, [&](AxisSet) -> Communicator& { return ranks.world(); },
                          {.overlap = true, .bucket_size = 1, .group_size = 1});
  ranks.world().barrier();
  ranks.meet();
  std::string message;
  try {
    reducer.begin_step(/*micro_batches=*/1);
    late.value.sum().backward();  // launches the first bucket's reduction
    if (ranks.rank() == 1) {
      ranks.announce_death();
      std::raise(SIGKILL);
    }
    early.value.sum().backward();
    reducer.finish();
  } catch (const CommError& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("all_reduce"), std::string::npos) << message;
}

}  // namespace
}  // namespace ringtron
