#include "ringtron/kernels/adamw/adamw.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/device/fused.h"

namespace ringtron {
namespace {

bool aligned(const at::Tensor& x, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % bytes == 0;
}

bool fits(const AdamwTensors& t) {
  for (const at::Tensor& x : {t.gradient, t.exp_avg, t.exp_avg_sq, t.lower.defined() ? t.gradient : t.main}) {
    if (x.scalar_type() != at::kFloat || !x.is_contiguous() || !aligned(x, 32)) return false;
  }
  if (!t.lower.defined()) return fused_on_gpu({t.main});
  return fused_on_gpu({t.main}) && t.main.scalar_type() == at::kBFloat16 && t.main.is_contiguous() &&
         aligned(t.main, 16) && t.lower.is_contiguous() && aligned(t.lower, 16);
}

AdamwSegment segment_of(const AdamwTensors& t, const AdamwNumbers& numbers) {
  AdamwSegment s{};
  if (t.lower.defined()) {
    s.upper = static_cast<std::uint16_t*>(t.main.mutable_data_ptr());
    s.lower = t.lower.mutable_data_ptr<std::int16_t>();
  } else {
    s.main = t.main.mutable_data_ptr<float>();
  }
  s.gradient = t.gradient.const_data_ptr<float>();
  s.exp_avg = t.exp_avg.mutable_data_ptr<float>();
  s.exp_avg_sq = t.exp_avg_sq.mutable_data_ptr<float>();
  s.elements = t.main.numel();
  s.decay = t.decays ? static_cast<float>(numbers.decay) : 0.0f;
  return s;
}

}  // namespace

bool adamw_fused(std::span<const AdamwTensors> tensors, const AdamwNumbers& numbers, const at::Tensor& gradient_scale,
                 const at::Tensor& skip) {
  for (const AdamwTensors& t : tensors) {
    if (!fits(t)) return false;
  }
  const at::Tensor scale = gradient_scale.reshape({}).to(at::kFloat);
  AdamwParams params{};
  params.beta1 = static_cast<float>(numbers.beta1);
  params.beta2 = static_cast<float>(numbers.beta2);
  params.rest1 = static_cast<float>(1.0 - numbers.beta1);
  params.rest2 = static_cast<float>(1.0 - numbers.beta2);
  params.eps = static_cast<float>(numbers.eps);
  params.step_size = static_cast<float>(numbers.step_size);
  params.root_correction2 = static_cast<float>(numbers.root_correction2);
  params.scale = scale.const_data_ptr<float>();
  params.skip = skip.defined() ? skip.const_data_ptr<float>() : nullptr;
  for (const AdamwTensors& t : tensors) {
    const AdamwSegment segment = segment_of(t, numbers);
    if (params.tensors.add(segment, kAdamwBlock)) continue;
    adamw_cuda(params, current_cuda_stream());
    params.tensors = {};
    params.tensors.add(segment, kAdamwBlock);
  }
  adamw_cuda(params, current_cuda_stream());
  return true;
}

}  // namespace ringtron
