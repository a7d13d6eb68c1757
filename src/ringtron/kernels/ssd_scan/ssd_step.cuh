// The time step of a row, t = clamp(softplus(dt + bias)), and its slope.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "ringtron/kernels/ssd_scan/ssd_params.h"

namespace ringtron::ssd {

struct TimeStep {
  float value, slope;
};

template <class T>
__device__ TimeStep time_step(const SsdSteps& steps, std::int64_t row, int head) {
  const T raw = static_cast<const T*>(steps.dt)[row * steps.dt_stride + head];
  float x;
  if constexpr (std::is_same_v<T, __half>)
    x = __half2float(raw);
  else
    x = __bfloat162float(raw);
  x += steps.bias[head];
  const float soft = x > 20.0f ? x : log1pf(expf(x));  // above 20 they are equal in fp32
  const float slope = 1.0f / (1.0f + expf(-x));
  const bool inside = soft >= steps.least && soft <= steps.most;
  return {fminf(fmaxf(soft, steps.least), steps.most), inside ? slope : 0.0f};
}

}  // namespace ringtron::ssd
