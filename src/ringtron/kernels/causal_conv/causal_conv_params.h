// What the host tells the kernels of the causal convolution.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// A segment of rows on the device. Samples one after the other: row i of sample k is k * rows + i here.
struct ConvSegment {
  std::int64_t begin;
  std::int64_t initial;  // its line of the halo, -1: none
};

// All tensors of one type. Channels are neighbours, a multiple of 4; rows begin at multiples of four elements.
struct CausalConvParams {
  static constexpr int kMostWidth = 4;  // taps, from 2 on
  const void* x;                        // [rows, samples, channels], x_stride from one row of [rows * samples] on
  const void *weight, *bias;            // [channels, width], [channels]
  const void* halo;                     // [initials, width - 1, channels]
  const void* dy;                       // as y; backward only
  void* y;                              // [rows, samples, channels]; forward only
  void *dx, *d_halo;                    // as x with dx_stride, as halo; backward only
  float* parts;                         // [causal_conv_parts(), width + 1, channels]: shares of the gradients of
                                        // the taps and of the bias; backward only
  const ConvSegment* segments;          // in order, and a last one that begins at rows * samples
  std::int64_t count;                   // of segments, without the last one
  std::int64_t rows, samples, x_stride, dx_stride;
  int channels, width;
  Element type;
};

void causal_conv_forward_cuda(const CausalConvParams& params, void* stream);
std::int64_t causal_conv_parts(std::int64_t rows, std::int64_t samples);
void causal_conv_backward_cuda(const CausalConvParams& params, void* stream);

}  // namespace ringtron
