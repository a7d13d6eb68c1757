// What a forward pass knows besides its activations: which part of the run it computes.
//
// Regions: with context parallelism this rank holds the positions that the sequence layout gives it (the
// context region, s_cp of them, not the same number on each rank, possibly none); with sequence parallelism
// the layers outside attention and MLP hold a further 1/tp of those (the sequence region). Without sequence
// parallelism both regions are the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/run/saved_kv.h"
#include "ringtron/kernels/dropout/dropout.h"
#include "ringtron/kernels/rotary/rotary.h"
#include "ringtron/mamba_context_parallel/scan_shape.h"

namespace ringtron {

class WeightGradientQueue;  // tensor_parallel

// Places where a layer draws dropout; each has a stream of its own.
enum class DropoutPlace : std::uint64_t {
  embedding = 1,
  attention = 2,
  attention_output = 3,
  mlp_output = 4,
  mixer_output = 5
};

struct StepContext {
  bool training = true;  // false: no dropout
  std::uint64_t seed = 0;
  std::uint64_t step = 0;                      // iteration, so that a sample that comes again is dropped differently
  DropoutRegion region;                        // of the sequence region: rows and samples of the hidden states
  std::vector<std::int64_t> sample_numbers;    // [b], on the host
  RotaryTable rotary;                          // of the context region; undefined without rotary positions
  std::shared_ptr<const SequenceShape> shape;  // of the samples; null: what the attention was made with
  std::shared_ptr<const ScanShape> scan;       // of Mamba layers; null in a model without
  // By layer, where recomputed attention keeps what it received (--cp-keep-kv).
  std::map<int, std::shared_ptr<SavedKv>> saved_kv;
  WeightGradientQueue* later = nullptr;  // takes the weight gradients of linear layers; null: the backward makes them

  std::uint64_t key(std::uint64_t layer, DropoutPlace place) const {
    return random_key(seed, step, layer, static_cast<std::uint64_t>(place));
  }
};

}  // namespace ringtron
