// What one optimizer step leaves behind.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ringtron/optim/learning_rates.h"

namespace ringtron {

// Results of one step, on the device; nothing waits for them until someone asks.
struct StepResult {
  std::int64_t samples = 0;  // of the global batch
  at::Tensor tokens;         // 0-dim fp64: unmasked tokens of the global batch
  at::Tensor loss;           // 0-dim fp64: mean over the global batch's unmasked tokens; the same on all ranks
  at::Tensor grad_norm;      // 0-dim: before clipping; undefined with --clip-grad 0
  at::Tensor zeros;          // 0-dim, with --log-num-zeros-in-grad
  at::Tensor skipped;  // fp32 [1]: 1 if the weights stayed as they were (NanCheck, LossScale); undefined where none can
  at::Tensor loss_scale;  // 0-dim fp64, with --fp16: of the next step
  LearningRates rates;    // of this step
  // With --reset-attention-mask, 0-dim fp64, see BatchShape: the sum over the global batch, and the mean over
  // its micro-batches.
  at::Tensor attention_cells;
  at::Tensor area_imbalance;
};

}  // namespace ringtron
