// What the host tells the kernels of cross entropy over a part of the vocabulary.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

struct CrossEntropyShape {
  std::int64_t rows;
  std::int64_t width;  // logits of a row, a multiple of 8
  std::int64_t real;   // the first of them that count; the rest is padding
  std::int64_t first;  // id of the first
  Element type;
};

struct CrossEntropyForwardParams {
  CrossEntropyShape shape;
  const void* logits;           // [rows, width]
  const std::int64_t* targets;  // [rows]
  float* peak;                  // [rows]: the largest logit; -inf where there is none
  float* sum;                   // [rows]: of exp(logit - peak)
  float* predicted;             // [rows]: the target's logit, 0 where it is another rank's
};

struct CrossEntropyBackwardParams {
  CrossEntropyShape shape;
  const void* logits;           // [rows, width]
  const std::int64_t* targets;  // [rows]
  const float* log_sum;         // [rows]: logarithm of the sum of exp(logit), over all ranks
  const float* d_loss;          // [rows]
  void* d_logits;               // [rows, width]; may be `logits`
};

void cross_entropy_forward_cuda(const CrossEntropyForwardParams& params, void* stream);
void cross_entropy_backward_cuda(const CrossEntropyBackwardParams& params, void* stream);

}  // namespace ringtron
