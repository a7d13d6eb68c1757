// AdamW on the GPU in one pass: gradient, main weight and moments are read once, the last three and the rounded weight
// written once.
#include <cuda_runtime.h>

#include "ringtron/kernels/adamw/adamw_params.h"
#include "ringtron/kernels/device/vector8.cuh"

namespace ringtron {
namespace {

constexpr int kThreads = 256;

__device__ void update(float& main, float& m, float& v, float g, const AdamwParams& p, float decay) {
  m = p.beta1 * m + (1.0f - p.beta1) * g;
  v = p.beta2 * v + (1.0f - p.beta2) * g * g;
  main -= p.step_size * (m / (sqrtf(v) / p.root_correction2 + p.eps)) + decay * main;
}

__device__ void store_one(void* base, std::int64_t at, Element type, float x) {
  if (type == Element::f16) static_cast<__half*>(base)[at] = __float2half_rn(x);
  if (type == Element::bf16) static_cast<__nv_bfloat16*>(base)[at] = __float2bfloat16_rn(x);
}

__global__ void __launch_bounds__(kThreads) adamw_kernel(const __grid_constant__ AdamwParams p) {
  if (p.skip != nullptr && *p.skip == 1.0f) return;
  const AdamwSegment& t = p.tensors.of_block(blockIdx.x);
  const float scale = *p.scale;
  const std::int64_t begin = (blockIdx.x - t.first_block) * kAdamwBlock;
#pragma unroll
  for (int k = 0; k < kAdamwBlock / (kThreads * 8); ++k) {
    const std::int64_t at = begin + (k * kThreads + static_cast<int>(threadIdx.x)) * 8;
    if (at >= t.elements) return;
    if (at + 8 > t.elements) {
      for (std::int64_t i = at; i < t.elements; ++i) {
        float main = t.main[i];
        update(main, t.exp_avg[i], t.exp_avg_sq[i], t.gradient[i] * scale, p, t.decay);
        t.main[i] = main;
        if (t.narrow != nullptr) store_one(t.narrow, i, t.type, main);
      }
      return;
    }
    const Vector8 g = load8(t.gradient, at, Element::f32);
    Vector8 main = load8(t.main, at, Element::f32), m = load8(t.exp_avg, at, Element::f32),
            v = load8(t.exp_avg_sq, at, Element::f32);
#pragma unroll
    for (int i = 0; i < 8; ++i) update(main.v[i], m.v[i], v.v[i], g.v[i] * scale, p, t.decay);
    store8(t.main, at, Element::f32, main);
    store8(t.exp_avg, at, Element::f32, m);
    store8(t.exp_avg_sq, at, Element::f32, v);
    if (t.narrow != nullptr) store8(t.narrow, at, t.type, main);
  }
}

}  // namespace

void adamw_cuda(const AdamwParams& params, void* stream) {
  if (params.tensors.blocks == 0) return;
  adamw_kernel<<<static_cast<unsigned>(params.tensors.blocks), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      params);
}

}  // namespace ringtron
