// A micro-batch on the model's device, and how its loss is made.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "ringtron/models/stage.h"

namespace ringtron {

class Job;
struct BatchShape;
struct MicroBatch;

struct DeviceBatch {
  GptInput input;
  at::Tensor loss_mask;                     // [s_cp, b], 0 or 1, in the loss type
  std::int64_t unmasked_tokens;             // of this rank, counted on the host
  std::shared_ptr<const BatchShape> shape;  // null: the loader is not TrainingData's
};
DeviceBatch to_device(const MicroBatch& batch, const Job& job);

// The loss of a micro-batch from `hidden`, [s, b, h] in the sequence region: what the last stage's layers returned.
// Usually stage.loss(hidden, batch.input, weights), with weights other than batch.loss_mask: then the objective is the
// weighted sum over the number of unmasked tokens. With --fp16 batch.loss_mask is the mask times the loss scale, and
// other weights are to be it times something. All ranks of the tensor and context groups call the same
// collectives in it; backward begins at weighted_sum, and `each` is what is logged.
using LossStep = std::function<TokenLosses(const Stage& stage, const at::Tensor& hidden, const DeviceBatch& batch)>;

}  // namespace ringtron
