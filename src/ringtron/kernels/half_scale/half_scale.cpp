#include "ringtron/kernels/half_scale/half_scale.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/half_scale/half_scale_params.h"

#ifdef RINGTRON_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

namespace ringtron {
namespace {

HalfScaled scaled_composed(const at::Tensor& x, double most) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor largest = x.numel() > 0 ? wide.abs().amax() : at::zeros({}, wide.options());
  const at::Tensor k = at::floor(at::log2(most / largest)).clamp(-120, 120);
  const at::Tensor usable = largest.isfinite().logical_and(largest.ne(0));
  const at::Tensor factor = at::where(usable, at::exp2(k), at::ones_like(k));
  return {(wide * factor).to(at::kHalf), factor.reciprocal().view({1})};
}

}  // namespace

at::Tensor to_half(const at::Tensor& x) {
#ifdef RINGTRON_CUDA
  // LibTorch's conversion reads bf16 one element at a time.
  if (x.is_cuda() && x.scalar_type() == at::kBFloat16 && x.is_contiguous() && x.numel() % 8 == 0 &&
      reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0) {
    at::Tensor half = at::empty(x.sizes(), x.options().dtype(at::kHalf));
    to_half_cuda(x.const_data_ptr(), half.mutable_data_ptr(), x.numel(), c10::cuda::getCurrentCUDAStream().stream());
    return half;
  }
#endif
  return x.to(at::kHalf);
}

HalfScaled scale_to_half(const at::Tensor& x, double most) {
  RT_CHECK(x.is_contiguous(), "scale_to_half wants a contiguous tensor");
  RT_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "scale_to_half: expected fp32 or bf16, got {}",
           c10::toString(x.scalar_type()));
#ifdef RINGTRON_CUDA
  if (x.is_cuda() && reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0) {
    const at::Tensor found = at::zeros({2}, x.options().dtype(at::kFloat));  // bits of the largest magnitude, 2^-k
    HalfScaled result{at::empty(x.sizes(), x.options().dtype(at::kHalf)), found.narrow(0, 1, 1)};
    float* numbers = found.mutable_data_ptr<float>();
    half_scale_cuda({x.const_data_ptr(), *element_of(x), result.x.mutable_data_ptr(),
                     reinterpret_cast<std::uint32_t*>(numbers), numbers + 1, static_cast<float>(most), x.numel()},
                    c10::cuda::getCurrentCUDAStream().stream());
    return result;
  }
#endif
  return scaled_composed(x, most);
}

}  // namespace ringtron
