// The gated norm on the GPU, forward and backward: the channels of a group lie in the registers of a warp or a block,
// so that each tensor is read and written once.
#include <cuda_runtime.h>

#include <algorithm>

#include "ringtron/kernels/device/block_sum.cuh"
#include "ringtron/kernels/device/launch.cuh"
#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/gated_norm/gated_norm_params.h"

namespace ringtron {
namespace {

// Threads of a group's channels, groups of a block, and vectors of 8 channels that a thread holds.
struct GroupThreads {
  int threads, groups, vectors;
};

GroupThreads group_threads(int width) {
  const int vectors = width / 8, held = vectors <= 32 ? 1 : 2;
  if (vectors <= 64) return {32, 4, held};
  return {(vectors + 63) / 64 * 32, 1, 2};
}

constexpr int kVectors = 2;

__device__ bool has(const GatedNormParams& p, int k) {
  return static_cast<int>(threadIdx.x + k * blockDim.x) * 8 < p.width;
}
__device__ int channel(int k) { return static_cast<int>(threadIdx.x + k * blockDim.x) * 8; }

struct Gated {
  float u, gate;  // y silu(z), sigmoid(z)
};

__device__ Gated gated(float y, float z) {
  const float gate = __fdividef(1.0f, 1.0f + __expf(-z));  // 0 below -87
  return {y * z * gate, gate};
}

// What is read of one group of a row, as it lies in memory.
struct GroupBits {
  Bits8 y[kVectors], z[kVectors], d_out[kVectors];
};

template <Element kType>
__device__ GroupBits load_group(const GatedNormParams& p, std::int64_t row, int group) {
  GroupBits bits;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (!has(p, k)) continue;
    const std::int64_t at = group * std::int64_t{p.width} + channel(k);
    bits.y[k] = load_bits8(p.y, row * p.y_stride + at, kType);
    bits.z[k] = load_bits8(p.z, row * p.z_stride + at, kType);
    if (p.d_out != nullptr) bits.d_out[k] = load_bits8(p.d_out, row * p.groups * p.width + at, kType);
  }
  return bits;
}

template <Element kType>
__global__ void __launch_bounds__(512) gated_norm_forward_kernel(const __grid_constant__ GatedNormParams p) {
  __shared__ float2 shared[64];
  RowSum row_sum{shared};
  const std::int64_t number = blockIdx.x * static_cast<std::int64_t>(blockDim.y) + threadIdx.y, row = number / p.groups;
  if (row >= p.rows) return;
  const int group = static_cast<int>(number % p.groups);
  const GroupBits bits = load_group<kType>(p, row, group);
  Vector8 u[kVectors];
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (!has(p, k)) continue;
    const Vector8 y = numbers_of(bits.y[k], kType), z = numbers_of(bits.z[k], kType);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      u[k].v[i] = gated(y.v[i], z.v[i]).u;
      squares += u[k].v[i] * u[k].v[i];
    }
  }
  const float rstd = rsqrtf(row_sum(squares, 0.0f).x / p.width + p.epsilon);
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (!has(p, k)) continue;
    const int at = group * p.width + channel(k);
    const Vector8 w = load8(p.weight, at, kType);
#pragma unroll
    for (int i = 0; i < 8; ++i) u[k].v[i] *= rstd * w.v[i];
    store8(p.out, row * p.groups * p.width + at, kType, u[k]);
  }
}

// Of one group: with g = d_out w and n = u rstd, du = rstd (g - n mean(g n)).
template <Element kType>
__device__ void backward_of_group(const GatedNormParams& p, std::int64_t row, int group, const GroupBits& bits,
                                  RowSum& row_sum, Vector8 (&weight_sum)[kVectors]) {
  float squares = 0.0f, product = 0.0f;
  Vector8 w[kVectors];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (!has(p, k)) continue;
    const Vector8 y = numbers_of(bits.y[k], kType), z = numbers_of(bits.z[k], kType),
                  g = numbers_of(bits.d_out[k], kType);
    w[k] = load8(p.weight, group * p.width + channel(k), kType);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float u = gated(y.v[i], z.v[i]).u;
      squares += u * u;
      product += g.v[i] * w[k].v[i] * u;
    }
  }
  const float2 sums = row_sum(squares, product);
  const float rstd = rsqrtf(sums.x / p.width + p.epsilon), mean = sums.y * rstd / p.width;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (!has(p, k)) continue;
    const Vector8 y = numbers_of(bits.y[k], kType), z = numbers_of(bits.z[k], kType),
                  g = numbers_of(bits.d_out[k], kType);
    Vector8 dy, dz;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const Gated now = gated(y.v[i], z.v[i]);
      const float n = now.u * rstd, du = rstd * (g.v[i] * w[k].v[i] - n * mean);
      weight_sum[k].v[i] += g.v[i] * n;
      dy.v[i] = du * z.v[i] * now.gate;
      dz.v[i] = du * y.v[i] * now.gate * (1.0f + z.v[i] * (1.0f - now.gate));
    }
    const std::int64_t column = group * static_cast<std::int64_t>(p.width) + channel(k);
    store8(p.dy, row * p.groups * p.width + column, kType, dy);
    store8(p.dz, row * p.dz_stride + column, kType, dz);
  }
}

// A block has one group of rows at equal distances.
template <Element kType>
__global__ void __launch_bounds__(512) gated_norm_backward_kernel(const __grid_constant__ GatedNormParams p) {
  __shared__ float2 shared[64];
  RowSum row_sum{shared};
  const int part = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y), group = static_cast<int>(blockIdx.y);
  if (part >= p.parts) return;
  Vector8 weight_sum[kVectors] = {};
  constexpr bool kAhead = kType != Element::f32;  // which would take too many registers
  GroupBits bits = load_group<kType>(p, part, group);
  for (std::int64_t row = part; row < p.rows; row += p.parts) {
    if constexpr (kAhead) {
      const GroupBits now = bits;  // the next row is on its way while this one's sums are made
      if (row + p.parts < p.rows) bits = load_group<kType>(p, row + p.parts, group);
      backward_of_group<kType>(p, row, group, now, row_sum, weight_sum);
    } else {
      backward_of_group<kType>(p, row, group, bits, row_sum, weight_sum);
      if (row + p.parts < p.rows) bits = load_group<kType>(p, row + p.parts, group);
    }
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (!has(p, k)) continue;
    store8(p.weight_parts, (static_cast<std::int64_t>(part) * p.groups + group) * p.width + channel(k), Element::f32,
           weight_sum[k]);
  }
}

template <Element kType>
void launch_of(bool forward, const GatedNormParams& p, void* stream) {
  const GroupThreads t = group_threads(p.width);
  const dim3 threads(static_cast<unsigned>(t.threads), static_cast<unsigned>(t.groups));
  if (forward) {
    const std::int64_t blocks = (p.rows * p.groups + t.groups - 1) / t.groups;
    launch(gated_norm_forward_kernel<kType>, dim3(static_cast<unsigned>(blocks)), threads, 0, p, stream);
    return;
  }
  const int blocks = (p.parts + t.groups - 1) / t.groups;
  launch(gated_norm_backward_kernel<kType>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(p.groups)),
         threads, 0, p, stream);
}

void launch_of(bool forward, const GatedNormParams& p, void* stream) {
  if (p.type == Element::f32) launch_of<Element::f32>(forward, p, stream);
  if (p.type == Element::f16) launch_of<Element::f16>(forward, p, stream);
  if (p.type == Element::bf16) launch_of<Element::bf16>(forward, p, stream);
}

}  // namespace

int gated_norm_parts(std::int64_t rows, int groups, int width, int multiprocessors) {
  constexpr int kThreadsOfMultiprocessor = 1024;
  const std::int64_t threads = std::int64_t{multiprocessors} * kThreadsOfMultiprocessor;
  const std::int64_t parts = threads / (std::int64_t{group_threads(width).threads} * groups);
  return static_cast<int>(std::min<std::int64_t>(rows, std::max<std::int64_t>(parts, 1)));
}

void gated_norm_forward_cuda(const GatedNormParams& params, void* stream) { launch_of(true, params, stream); }
void gated_norm_backward_cuda(const GatedNormParams& params, void* stream) { launch_of(false, params, stream); }

}  // namespace ringtron
