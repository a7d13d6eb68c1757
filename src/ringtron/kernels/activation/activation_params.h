// What the host tells the kernels of the feed-forward nonlinearities.
#pragma once

#include <cstdint>

#include "ringtron/kernels/activation/activation_kind.h"
#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// Contiguous, from addresses that are multiples of 16. `width`, the channels of a result, is a multiple of 8.
struct ActivationParams {
  const void* x;   // [rows, width], of swiglu [rows, 2 width]
  const void* dy;  // [rows, width]; backward only
  void* out;       // forward: y [rows, width]; backward: dx, shaped as x
  std::int64_t rows;
  std::int64_t width;
  Element type;
  Activation activation;
};

void activation_forward_cuda(const ActivationParams& params, void* stream);
void activation_backward_cuda(const ActivationParams& params, void* stream);

}  // namespace ringtron
