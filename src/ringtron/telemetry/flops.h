// Floating point operations that a training step needs, by Megatron's formula: model operations only, so
// recomputation does not count, and causal attention counts half of the score matrix.
#pragma once

#include <cstdint>

namespace ringtron {

struct DenseGptSizes {
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t ffn_hidden = 0;
  std::int64_t query_projection = 0;      // heads * head size
  std::int64_t key_value_projection = 0;  // query groups * head size: the width of K, and of V
  std::int64_t padded_vocab = 0;
  bool swiglu = false;
};

// Forward and backward of one global batch of `sequences` sequences of `length` tokens.
double gpt_step_flops(const DenseGptSizes& sizes, std::int64_t sequences, std::int64_t length);

// 10^12 operations per second and device.
double tflops_per_device(double step_flops, double step_seconds, int world_size);

}  // namespace ringtron
