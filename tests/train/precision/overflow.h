// Overflows in chosen steps of a run in fp16.
#pragma once

#include <cstdint>
#include <set>
#include <utility>

#include "tests/train/toy_training.h"

namespace ringtron::testing {

// On the last rank of data and context alone the tokens of these iterations, counted from 1, weigh so much that fp16
// cannot hold it.
inline void overflow_at(ToyTraining& run, std::set<std::int64_t> iterations) {
  const ParallelState& parallel = run.job().parallel();
  const bool is_last = parallel.dp_rank() == parallel.dp_size() - 1 && parallel.cp_rank() == parallel.cp_size() - 1;
  run.parts().step().use_loss([&run, is_last, iterations = std::move(iterations)](
                                  const Stage& stage, const at::Tensor& hidden, const DeviceBatch& batch) {
    const bool overflows = is_last && iterations.contains(run.state().progress.iteration + 1);
    return stage.loss(hidden, batch.input, overflows ? batch.loss_mask * 1e30 : batch.loss_mask);
  });
}

}  // namespace ringtron::testing
