// What micro-batches leave in memory for their backward pass, as closed forms of a configuration.
//
// Source: docs/concepts/memory.md; tests/models/recompute_memory_test.cpp counts the bytes of all tensors
// of a process on a CPU and finds these (of a layer to the byte in fp32 and fp64, of the loss within 1%).
// Gradients inside the layer at work, workspaces of kernels, buffers of messages and the allocator's
// fragmentation come on top.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ringtron/config/resolved_config.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/modules/layer_spec.h"

namespace ringtron {

// The layers of one kind.
struct KindBytes {
  LayerKind kind = LayerKind::transformer;
  std::vector<int> layers = {};
  std::int64_t kept = 0;       // by each when nothing is recomputed
  std::int64_t statistic = 0;  // of that, what it does not keep when its attention is recomputed
};

// On one rank: of one micro-batch without a pipeline, of all that are under way in one.
struct ActivationBytes {
  std::vector<KindBytes> kinds;  // of the layers that there are
  int in_flight = 1;             // micro-batches, each in one of the rank's virtual stages
  int left = 0;                  // of these, how many may have been backward and have weight gradients left
  std::int64_t left_by_one = 0;  // what each of them keeps for these
  std::int64_t layers =
      0;  // that all its layers keep, as the recompute flags say; what --cp-keep-kv keeps is not in it
  std::int64_t segment = 0;  // beside these, while the largest recomputed segment runs again
  std::int64_t ends = 0;     // that the final norm and the loss keep
  std::int64_t loss = 0;     // logits of the tokens that the loss takes together, before the layers' backward
  // At once in an evaluation, which keeps nothing: all that is in a layer, or the loss. 0 without one, and where its
  // micro-batches are not larger than training's, which then takes more.
  std::int64_t evaluation = 0;

  // The most at a time, in training and at all.
  std::int64_t of_training() const { return layers + ends + std::max(segment, loss); }
  std::int64_t peak() const { return std::max(of_training(), evaluation); }
};

// `rows`: tokens of a sample that the rank holds.
ActivationBytes activation_bytes(const ResolvedConfig& config, std::int64_t rows);
// The same of any pipeline rank of `model`.
ActivationBytes activation_bytes(const ResolvedConfig& config, const ModelSpec& model, std::int64_t rows,
                                 int pipeline_rank);

}  // namespace ringtron
