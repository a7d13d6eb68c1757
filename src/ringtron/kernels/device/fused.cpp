#include "ringtron/kernels/device/fused.h"

#include <ATen/cuda/CUDAContext.h>

#include <cstdint>

namespace ringtron {

bool fused_on_gpu(std::initializer_list<at::Tensor> tensors) {
  const at::Tensor* first = nullptr;
  for (const at::Tensor& x : tensors) {
    if (!x.defined()) continue;
    if (!x.is_cuda() || !element_of(x)) return false;
    if (first != nullptr && x.scalar_type() != first->scalar_type()) return false;
    const bool aligned = reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0;
    if (x.is_contiguous() && !aligned) return false;
    first = &x;
  }
  return first != nullptr;
}

int multiprocessors(const at::Tensor& x) { return at::cuda::getDeviceProperties(x.get_device())->multiProcessorCount; }

}  // namespace ringtron
