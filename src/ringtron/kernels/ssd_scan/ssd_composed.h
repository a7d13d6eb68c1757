// The scan composed of ATen's operations, for any device and type: the truth that a kernel is compared with.
#pragma once

#include "ringtron/kernels/ssd_scan/ssd_scan.h"

namespace ringtron::composed {

SsdStates ssd_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options);
at::Tensor ssd_outputs(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                       const SsdStates& states, const at::Tensor& initial);
SsdBackwardStates ssd_backward_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                                      const at::Tensor& dy);
SsdGradients ssd_gradients(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                           const at::Tensor& initial, const at::Tensor& dy, const SsdBackwardStates& states,
                           const at::Tensor& d_final);

}  // namespace ringtron::composed
