// What the host tells the kernel that adds the gradient of an embedding.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

struct EmbeddingGradientParams {
  const std::int64_t* sorted;  // [count]: the ids, ascending
  const std::int64_t* order;   // [count]: which rows of dy they belong to, ascending among equal ids
  std::int64_t count;
  const void* dy;            // [count, width]
  Element type;              // of dy
  float* gradient;           // [rows, width]
  std::int64_t rows, width;  // width: a multiple of 8
};

void embedding_gradient_cuda(const EmbeddingGradientParams& params, void* stream);

}  // namespace ringtron
