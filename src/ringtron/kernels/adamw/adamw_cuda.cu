// AdamW on the GPU in one pass: gradient, main weight and moments are read once, the last three written once.
#include <cuda_runtime.h>

#include "ringtron/kernels/adamw/adamw_params.h"
#include "ringtron/kernels/adamw/weight_halves.h"
#include "ringtron/kernels/device/vector8.cuh"

namespace ringtron {
namespace {

constexpr int kThreads = 256;

__device__ void update(float& main, float& m, float& v, float g, const AdamwParams& p, float decay) {
  m = p.beta1 * m + p.rest1 * g;
  v = p.beta2 * v + p.rest2 * g * g;
  main -= p.step_size * (m / (sqrtf(v) / p.root_correction2 + p.eps)) + decay * main;
}

// The main weight of eight elements, from wherever it is, and back.
struct MainWeight {
  Vector8 x;

  __device__ void load(const AdamwSegment& t, std::int64_t at) {
    if (t.main != nullptr) {
      x = load8(t.main, at, Element::f32);
      return;
    }
    const uint4 upper = *reinterpret_cast<const uint4*>(t.upper + at);
    const uint4 lower = *reinterpret_cast<const uint4*>(t.lower + at);
    const std::uint32_t high[4] = {upper.x, upper.y, upper.z, upper.w}, low[4] = {lower.x, lower.y, lower.z, lower.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int shift = 16 * (i % 2);
      x.v[i] =
          whole_of({static_cast<std::uint16_t>(high[i / 2] >> shift), static_cast<std::int16_t>(low[i / 2] >> shift)});
    }
  }

  __device__ void store(const AdamwSegment& t, std::int64_t at) const {
    if (t.main != nullptr) {
      store8(t.main, at, Element::f32, x);
      return;
    }
    std::uint32_t high[4], low[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const WeightHalves a = halves_of(x.v[2 * i]), b = halves_of(x.v[2 * i + 1]);
      high[i] = a.upper | static_cast<std::uint32_t>(b.upper) << 16;
      low[i] = static_cast<std::uint16_t>(a.lower) | static_cast<std::uint32_t>(static_cast<std::uint16_t>(b.lower))
                                                         << 16;
    }
    *reinterpret_cast<uint4*>(t.upper + at) = make_uint4(high[0], high[1], high[2], high[3]);
    *reinterpret_cast<uint4*>(t.lower + at) = make_uint4(low[0], low[1], low[2], low[3]);
  }
};

__device__ void update_one(const AdamwSegment& t, std::int64_t i, const AdamwParams& p, float scale) {
  float main = t.main != nullptr ? t.main[i] : whole_of({t.upper[i], t.lower[i]});
  update(main, t.exp_avg[i], t.exp_avg_sq[i], t.gradient[i] * scale, p, t.decay);
  if (t.main != nullptr) {
    t.main[i] = main;
    return;
  }
  const WeightHalves halves = halves_of(main);
  t.upper[i] = halves.upper;
  t.lower[i] = halves.lower;
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
      for (std::int64_t i = at; i < t.elements; ++i) update_one(t, i, p, scale);
      return;
    }
    const Vector8 g = load8(t.gradient, at, Element::f32);
    Vector8 m = load8(t.exp_avg, at, Element::f32), v = load8(t.exp_avg_sq, at, Element::f32);
    MainWeight main;
    main.load(t, at);
#pragma unroll
    for (int i = 0; i < 8; ++i) update(main.x.v[i], m.v[i], v.v[i], g.v[i] * scale, p, t.decay);
    main.store(t, at);
    store8(t.exp_avg, at, Element::f32, m);
    store8(t.exp_avg_sq, at, Element::f32, v);
  }
}

}  // namespace

void adamw_cuda(const AdamwParams& params, void* stream) {
  if (params.tensors.blocks == 0) return;
  adamw_kernel<<<static_cast<unsigned>(params.tensors.blocks), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      params);
}

}  // namespace ringtron
