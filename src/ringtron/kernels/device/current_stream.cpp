#include "ringtron/kernels/device/current_stream.h"

#include <c10/cuda/CUDAStream.h>

namespace ringtron {

void* current_cuda_stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

}  // namespace ringtron
