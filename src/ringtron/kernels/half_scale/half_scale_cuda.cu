// Scaling to fp16 on the GPU: a pass that finds the largest magnitude and a pass that multiplies and rounds.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/half_scale/half_scale_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kBlocks = 132 * 8;

// Magnitudes are compared as bits: their order is that of the numbers, with NaN above all.
__global__ void __launch_bounds__(kThreads) largest_kernel(HalfScaleParams p) {
  std::uint32_t largest = 0;
  const std::int64_t stride = gridDim.x * static_cast<std::int64_t>(kThreads) * 8;
  for (std::int64_t i = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8; i < p.elements; i += stride) {
    if (i + 8 <= p.elements) {
      const Vector8 x = load8(p.x, i, p.type);
#pragma unroll
      for (const float v : x.v) largest = max(largest, __float_as_uint(v) & 0x7fffffffu);
    } else {
      for (std::int64_t j = i; j < p.elements; ++j) {
        const float v = p.type == Element::f32 ? static_cast<const float*>(p.x)[j]
                                               : __bfloat162float(static_cast<const __nv_bfloat16*>(p.x)[j]);
        largest = max(largest, __float_as_uint(v) & 0x7fffffffu);
      }
    }
  }
  largest = __reduce_max_sync(0xffffffffu, largest);
  if (threadIdx.x % 32 == 0) atomicMax(p.largest_bits, largest);
}

__device__ int exponent_for(std::uint32_t bits, float most) {
  const float largest = __uint_as_float(bits);
  if (largest == 0.0f || !isfinite(largest)) return 0;
  int k = ilogbf(most) - ilogbf(largest);
  if (ldexpf(largest, k) > most) --k;
  return min(max(k, -120), 120);  // 2^-k must be a number too
}

__global__ void __launch_bounds__(kThreads) scale_kernel(HalfScaleParams p) {
  const int k = exponent_for(*p.largest_bits, p.most);
  const float factor = ldexpf(1.0f, k);
  // From the end on: that is what the pass before left in the cache.
  const std::int64_t block = gridDim.x - 1 - blockIdx.x;
  const std::int64_t first = (block * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8;
  if (first == 0) *p.inverse = ldexpf(1.0f, -k);
  if (first >= p.elements) return;
  if (first + 8 <= p.elements) {
    Vector8 x = load8(p.x, first, p.type);
#pragma unroll
    for (float& v : x.v) v *= factor;
    store8(p.scaled, first, Element::f16, x);
    return;
  }
  for (std::int64_t j = first; j < p.elements; ++j) {
    const float v = p.type == Element::f32 ? static_cast<const float*>(p.x)[j]
                                           : __bfloat162float(static_cast<const __nv_bfloat16*>(p.x)[j]);
    static_cast<__half*>(p.scaled)[j] = __float2half_rn(v * factor);
  }
}

__global__ void __launch_bounds__(kThreads) to_half_kernel(const void* x, void* half, std::int64_t elements) {
  const std::int64_t at = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8;
  if (at < elements) store8(half, at, Element::f16, load8(x, at, Element::bf16));
}

}  // namespace

void to_half_cuda(const void* x, void* half, std::int64_t elements, void* stream) {
  const std::int64_t blocks = (elements / 8 + kThreads - 1) / kThreads;
  if (blocks == 0) return;
  to_half_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(x, half, elements);
}

void half_scale_cuda(const HalfScaleParams& params, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  const std::int64_t blocks = (params.elements / 8 + kThreads) / kThreads;
  largest_kernel<<<static_cast<unsigned>(blocks < kBlocks ? blocks : kBlocks), kThreads, 0, s>>>(params);
  scale_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, s>>>(params);
}

}  // namespace ringtron
