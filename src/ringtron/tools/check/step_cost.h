// What a training step costs one rank, computed from the configuration alone: memory of the model state, and
// bytes sent.
//
// Nothing here is measured. Bytes of collectives are those that a ring algorithm sends from one rank: a
// gather or a scattered sum of S bytes over t ranks costs (t-1)/t S, a sum that all get twice that. `config`
// is resolved and has its padded vocabulary.
#pragma once

#include <cstdint>
#include <string_view>

#include "ringtron/config/config.h"

namespace ringtron {

// "bf16", "fp32", "fp64"; and bytes of one element of the model, and of gradients and optimizer state.
std::string_view model_type(const Config& config);
std::int64_t model_element_bytes(const Config& config);
std::int64_t state_element_bytes(const Config& config);

struct ParameterCount {
  std::int64_t whole = 0;            // of the whole model, with the padding rows of the vocabulary
  std::int64_t of_rank = 0;          // the same on every rank: pipelines have one stage
  std::int64_t gradient_buffer = 0;  // elements, with its padding
};

// `replicas`: DP x CP, the ranks that sum gradients. ConfigError where a shape does not divide by TP.
ParameterCount count_parameters(const Config& config, int replicas);

// Bytes on one rank that stay for the whole run; activations come on top.
struct StateBytes {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t main_weights = 0;  // 0: the weights are their own main weights
  std::int64_t moments = 0;       // Adam's two
  std::int64_t sum() const { return weights + gradients + main_weights + moments; }
};
StateBytes state_bytes(const Config& config, const ParameterCount& count);

struct SentBytes {
  std::int64_t forward = 0;
  std::int64_t backward = 0;
};

// One layer, one micro-batch of `rows` positions of this context rank: the two pairs of column- and
// row-parallel linear layers. With sequence parallelism the backward gathers the input of the column-parallel
// layers once more.
SentBytes tensor_layer_bytes(const Config& config, std::int64_t rows);

// The same for what stands around the layers: word embedding, output layer, cross entropy.
SentBytes tensor_ends_bytes(const Config& config, std::int64_t rows);

// Sum of the gradient buffer over the replicas, once per step.
std::int64_t gradient_sum_bytes(const Config& config, const ParameterCount& count, int replicas);

}  // namespace ringtron
