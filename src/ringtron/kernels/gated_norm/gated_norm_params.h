// What the host tells the kernels of the gated norm.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// Rows of `groups` times `width` channels, of one type, from addresses that are multiples of 16 bytes; strides are in
// elements and multiples of 8.
struct GatedNormParams {
  static constexpr int kMostWidth = 8192;
  const void *y, *z;    // a row every y_stride, z_stride
  const void* weight;   // [groups * width]
  const void* d_out;    // dense; backward only
  void* out;            // dense; forward only
  void *dy, *dz;        // dy dense, dz a row every dz_stride; backward only
  float* weight_parts;  // [gated_norm_parts(), groups * width]: shares of the weight's gradient; backward only
  std::int64_t rows, y_stride, z_stride, dz_stride;
  int groups, width;  // width: a multiple of 8, at most kMostWidth
  int parts;          // backward only
  float epsilon;
  Element type;
};

void gated_norm_forward_cuda(const GatedNormParams& params, void* stream);
// Shares that the backward on such a device makes, at most one per row.
int gated_norm_parts(std::int64_t rows, int groups, int width, int multiprocessors);
void gated_norm_backward_cuda(const GatedNormParams& params, void* stream);

}  // namespace ringtron
