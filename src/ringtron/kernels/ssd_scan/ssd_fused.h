// The scan by kernels of its own (ssd_params.h), between tensors and pointers. As composed::, with the products of
// operands rounded to the type of the rows, on tensor cores; their sums, decays and the states from chunk to chunk are
// fp32.
#pragma once

#include "ringtron/kernels/ssd_scan/ssd_scan.h"

namespace ringtron::fused {

// What a launch needs to know of the device.
struct SsdDevice {
  void* stream;
  int multiprocessors;
};

// Whether the kernels take these sizes and types; devices are for fused_on_gpu() to say.
bool ssd_fits(const SsdInputs& in);

SsdStates ssd_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                     const SsdDevice& device);
at::Tensor ssd_outputs(const SsdInputs& in, const ScanSegments& segments, SsdStates&& states, const at::Tensor& initial,
                       const SsdDevice& device);
SsdBackwardStates ssd_backward_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                                      const at::Tensor& dy, const SsdDevice& device);

// What a backward has besides the inputs.
struct SsdBackward {
  at::Tensor initial, dy;
  SsdBackwardStates states;
  at::Tensor d_final;
  SsdPlaces places = {};
};
SsdGradients ssd_gradients(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                           SsdBackward&& backward, const SsdDevice& device);

}  // namespace ringtron::fused
