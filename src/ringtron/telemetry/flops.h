// Floating point operations that a training step needs: multiplications and additions of its matrix products and of the
// cells of its attention masks, forward and backward.
//
// As in Megatron's formula the backward pass counts twice the forward, what is recomputed does not count, and norms,
// activations and softmax do not either. Unlike there a cell of attention counts where the mask has it: half of the score
// matrix and half of its diagonal under a causal mask, less with windows and documents.
#pragma once

#include <cstdint>

namespace ringtron {

struct DenseGptSizes {
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t ffn_hidden = 0;
  std::int64_t query_projection = 0;      // heads * head size
  std::int64_t key_value_projection = 0;  // query groups * head size: the width of K, and of V
  std::int64_t padded_vocab = 0;          // more than 0: the output layer counts
  bool swiglu = false;
};

// Of `tokens` tokens whose masks have `attention_cells` (query, key) pairs in all, as one head of one layer sees them.
double gpt_step_flops(const DenseGptSizes& sizes, double tokens, double attention_cells);

// 10^12 operations per second and device.
double tflops_per_device(double step_flops, double step_seconds, int world_size);

}  // namespace ringtron
