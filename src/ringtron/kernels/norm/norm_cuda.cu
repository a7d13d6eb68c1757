// The residual sum and its norm on the GPU, forward and backward: a row lies in the registers of a warp or a block, so
// that each tensor is read and written once.
#include <cuda_runtime.h>

#include <algorithm>

#include "ringtron/base/random.h"
#include "ringtron/kernels/device/block_sum.cuh"
#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/norm/norm_params.h"

namespace ringtron {
namespace {

// Threads of a row, rows of a block, and vectors of 8 elements that a thread holds.
struct RowThreads {
  int threads, rows, vectors;
};

RowThreads row_threads(int width) {
  const int vectors = width / 8;
  if (vectors <= 32) return {32, 4, 1};
  const int held = vectors <= 256 ? 1 : vectors <= 1024 ? 2 : 4;
  return {(vectors + held * 32 - 1) / (held * 32) * 32, 1, held};
}

// Zero where the element is dropped, scaled where it is kept. `at`: the first of eight neighbours in the row.
__device__ Vector8 dropped(Vector8 x, const BranchDropout& d, std::int64_t row, int width, int at) {
  if (d.threshold == 0) return x;
  const std::uint64_t stream = static_cast<std::uint64_t>(d.samples[row % d.batch]);
  const std::uint64_t block = static_cast<std::uint64_t>(d.positions[row / d.batch] * width + at) >> 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const PhiloxBlock words = philox4x32(d.key, stream, block + half);
#pragma unroll
    for (int i = 0; i < 4; ++i) x.v[4 * half + i] = words.v[i] >= d.threshold ? x.v[4 * half + i] * d.scale : 0.0f;
  }
  return x;
}

template <Element kType>
__device__ Vector8 factor_at(const void* weight, int at, const NormShape& shape) {
  Vector8 w = load8(weight, at, kType);
  if (shape.zero_centred) {
#pragma unroll
    for (int i = 0; i < 8; ++i) w.v[i] += 1.0f;
  }
  return w;
}

// The residual sum of a row, written where there is a branch; returns this thread's share of its sum.
template <int kVectors, Element kType>
__device__ float residual_row(const NormForwardParams& p, std::int64_t row, Vector8 (&x)[kVectors]) {
  const int width = p.shape.width;
  const std::int64_t first = row * width;
  Bits8 in[kVectors], added_in[kVectors];  // all loads before the first store
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int at = (threadIdx.x + k * blockDim.x) * 8;
    if (at >= width) continue;
    in[k] = p.x != nullptr ? load_bits8(p.x, first + at, kType) : Bits8{};
    if (p.branch != nullptr) added_in[k] = load_bits8(p.branch, first + at, kType);
  }
  float total = 0.0f;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int at = (threadIdx.x + k * blockDim.x) * 8;
    if (at >= width) continue;
    x[k] = numbers_of(in[k], kType);
    if (p.branch != nullptr) {
      // Two roundings, as of a tensor that dropout writes and a sum that follows.
      const Vector8 added = rounded(dropped(numbers_of(added_in[k], kType), p.dropout, row, width, at), kType);
#pragma unroll
      for (int i = 0; i < 8; ++i) x[k].v[i] += added.v[i];
      x[k] = rounded(x[k], kType);
      store8(p.sum, first + at, kType, x[k]);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) total += x[k].v[i];
  }
  return total;
}

// 64 registers a thread: so many rows are under way that memory does not wait for their sums.
template <int kVectors, Element kType>
__global__ void __launch_bounds__(512, 2) norm_forward_kernel(const __grid_constant__ NormForwardParams p) {
  __shared__ float2 shared[64];
  RowSum row_sum{shared};
  const int width = p.shape.width;
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(blockDim.y) + threadIdx.y;
  if (row >= p.shape.rows) return;
  const std::int64_t first = row * width;
  Vector8 x[kVectors];
  const float total = residual_row<kVectors, kType>(p, row, x);
  if (p.normed == nullptr) return;
  const float mean = p.shape.rms ? 0.0f : row_sum(total, 0.0f).x / width;
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if ((threadIdx.x + k * blockDim.x) * 8 >= width) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += (x[k].v[i] - mean) * (x[k].v[i] - mean);
  }
  const float rstd = rsqrtf(row_sum(squares, 0.0f).x / width + p.epsilon);
  if (threadIdx.x == 0) {
    p.rstd[row] = rstd;
    if (!p.shape.rms) p.mean[row] = mean;
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int at = (threadIdx.x + k * blockDim.x) * 8;
    if (at >= width) continue;
    const Vector8 w = factor_at<kType>(p.weight, at, p.shape);
    Vector8 y;
#pragma unroll
    for (int i = 0; i < 8; ++i) y.v[i] = (x[k].v[i] - mean) * rstd * w.v[i];
    if (p.bias != nullptr) {
      const Vector8 b = load8(p.bias, at, kType);
#pragma unroll
      for (int i = 0; i < 8; ++i) y.v[i] += b.v[i];
    }
    store8(p.normed, first + at, kType, y);
  }
}

// With x^ the normalised row and g = d_normed * factor: dx = d_sum + rstd (g - mean(g) - x^ mean(g x^)), for RMSNorm
// without mean(g). A block takes rows at equal distances and sums d_normed x^ and d_normed over them.
// What the backward reads of a row, as it lies in memory.
template <int kVectors>
struct RowBits {
  Bits8 sum[kVectors], d_normed[kVectors], d_sum[kVectors];
  float mean, rstd;
};

template <int kVectors, Element kType>
__device__ RowBits<kVectors> load_row(const NormBackwardParams& p, std::int64_t row) {
  RowBits<kVectors> bits;
  bits.mean = p.shape.rms ? 0.0f : p.mean[row];
  bits.rstd = p.rstd[row];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int at = (threadIdx.x + k * blockDim.x) * 8;
    if (at >= p.shape.width) continue;
    const std::int64_t from = row * p.shape.width + at;
    bits.sum[k] = load_bits8(p.sum, from, kType);
    bits.d_normed[k] = load_bits8(p.d_normed, from, kType);
    if (p.d_sum != nullptr) bits.d_sum[k] = load_bits8(p.d_sum, from, kType);
  }
  return bits;
}

template <int kVectors, bool kBias, Element kType>
__global__ void __launch_bounds__(512, 1) norm_backward_kernel(const __grid_constant__ NormBackwardParams p) {
  __shared__ float2 shared[64];
  RowSum row_sum{shared};
  const int width = p.shape.width;
  Vector8 weight_sum[kVectors] = {}, bias_sum[kBias ? kVectors : 1] = {};
  const int part = blockIdx.x * blockDim.y + threadIdx.y;
  RowBits<kVectors> bits;
  if (part < p.shape.rows) bits = load_row<kVectors, kType>(p, part);
  for (std::int64_t row = part; row < p.shape.rows; row += p.parts) {
    // The next row is on its way while this one's sums are made.
    const RowBits<kVectors> now = bits;
    if (row + p.parts < p.shape.rows) bits = load_row<kVectors, kType>(p, row + p.parts);
    const std::int64_t first = row * width;
    Vector8 xhat[kVectors], g[kVectors];
    float sum = 0.0f, product = 0.0f;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int at = (threadIdx.x + k * blockDim.x) * 8;
      if (at >= width) continue;
      xhat[k] = numbers_of(now.sum[k], kType);
      g[k] = numbers_of(now.d_normed[k], kType);
      const Vector8 w = factor_at<kType>(p.weight, at, p.shape);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        xhat[k].v[i] = (xhat[k].v[i] - now.mean) * now.rstd;
        weight_sum[k].v[i] += g[k].v[i] * xhat[k].v[i];
        if constexpr (kBias) bias_sum[k].v[i] += g[k].v[i];
        g[k].v[i] *= w.v[i];
        sum += g[k].v[i];
        product += g[k].v[i] * xhat[k].v[i];
      }
    }
    const float2 means = row_sum(sum, product);
    const float mean_g = p.shape.rms ? 0.0f : means.x / width, mean_product = means.y / width;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int at = (threadIdx.x + k * blockDim.x) * 8;
      if (at >= width) continue;
      Vector8 dx;
#pragma unroll
      for (int i = 0; i < 8; ++i) dx.v[i] = now.rstd * (g[k].v[i] - mean_g - xhat[k].v[i] * mean_product);
      if (p.d_sum != nullptr) {
        const Vector8 other = numbers_of(now.d_sum[k], kType);
#pragma unroll
        for (int i = 0; i < 8; ++i) dx.v[i] += other.v[i];
      }
      store8(p.dx, first + at, kType, dx);
      if (p.d_branch != nullptr) store8(p.d_branch, first + at, kType, dropped(dx, p.dropout, row, width, at));
    }
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int at = (threadIdx.x + k * blockDim.x) * 8;
    if (at >= width || part >= p.parts) continue;
    store8(p.weight_parts, static_cast<std::int64_t>(part) * width + at, Element::f32, weight_sum[k]);
    if constexpr (kBias) store8(p.bias_parts, static_cast<std::int64_t>(part) * width + at, Element::f32, bias_sum[k]);
  }
}

constexpr int kSummedTogether = 16;  // threads that share a column

// Sums over the parts, in one order; blockIdx.y 1 is the bias.
__global__ void sum_of_parts_kernel(const __grid_constant__ NormBackwardParams p) {
  __shared__ float shared[kSummedTogether][33];
  const float* from = blockIdx.y == 0 ? p.weight_parts : p.bias_parts;
  void* to = blockIdx.y == 0 ? p.d_weight : p.d_bias;
  const int column = blockIdx.x * 32 + threadIdx.x;
  float sum = 0.0f;
  if (column < p.shape.width) {
    for (int part = threadIdx.y; part < p.parts; part += kSummedTogether)
      sum += from[static_cast<std::int64_t>(part) * p.shape.width + column];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= p.shape.width) return;
  sum = 0.0f;
  for (int i = 0; i < kSummedTogether; ++i) sum += shared[i][threadIdx.x];
  if (p.shape.type == Element::f32) static_cast<float*>(to)[column] = sum;
  if (p.shape.type == Element::f16) static_cast<__half*>(to)[column] = __float2half_rn(sum);
  if (p.shape.type == Element::bf16) static_cast<__nv_bfloat16*>(to)[column] = __float2bfloat16_rn(sum);
}

template <class Kernel, class Params>
void launch(Kernel kernel, std::int64_t blocks, const RowThreads& threads, const Params& params, cudaStream_t stream) {
  kernel<<<static_cast<unsigned>(blocks), dim3(threads.threads, threads.rows), 0, stream>>>(params);
}

template <Element kType>
void forward(const NormForwardParams& params, cudaStream_t stream) {
  const RowThreads threads = row_threads(params.shape.width);
  const std::int64_t blocks = (params.shape.rows + threads.rows - 1) / threads.rows;
  if (threads.vectors == 1) launch(norm_forward_kernel<1, kType>, blocks, threads, params, stream);
  if (threads.vectors == 2) launch(norm_forward_kernel<2, kType>, blocks, threads, params, stream);
  if (threads.vectors == 4) launch(norm_forward_kernel<4, kType>, blocks, threads, params, stream);
}

template <bool kBias, Element kType>
void backward(const NormBackwardParams& params, cudaStream_t stream) {
  const RowThreads threads = row_threads(params.shape.width);
  const std::int64_t blocks = (params.parts + threads.rows - 1) / threads.rows;
  if (blocks == 0) return;
  if (threads.vectors == 1) launch(norm_backward_kernel<1, kBias, kType>, blocks, threads, params, stream);
  if (threads.vectors == 2) launch(norm_backward_kernel<2, kBias, kType>, blocks, threads, params, stream);
  if (threads.vectors == 4) launch(norm_backward_kernel<4, kBias, kType>, blocks, threads, params, stream);
}

template <Element kType>
void backward(const NormBackwardParams& params, cudaStream_t stream) {
  if (params.bias_parts != nullptr)
    backward<true, kType>(params, stream);
  else
    backward<false, kType>(params, stream);
}

}  // namespace

void norm_forward_cuda(const NormForwardParams& params, void* stream) {
  if (params.shape.rows == 0) return;
  const auto s = static_cast<cudaStream_t>(stream);
  if (params.shape.type == Element::f32) forward<Element::f32>(params, s);
  if (params.shape.type == Element::f16) forward<Element::f16>(params, s);
  if (params.shape.type == Element::bf16) forward<Element::bf16>(params, s);
}

int norm_backward_parts(const NormShape& shape, int multiprocessors) {
  const RowThreads threads = row_threads(shape.width);
  const int blocks = multiprocessors * std::max(1, 512 / (threads.threads * threads.rows));
  return static_cast<int>(std::min<std::int64_t>(shape.rows, static_cast<std::int64_t>(blocks) * threads.rows));
}

void norm_backward_cuda(const NormBackwardParams& params, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  if (params.shape.type == Element::f32) backward<Element::f32>(params, s);
  if (params.shape.type == Element::f16) backward<Element::f16>(params, s);
  if (params.shape.type == Element::bf16) backward<Element::bf16>(params, s);
  const dim3 grid(static_cast<unsigned>((params.shape.width + 31) / 32), params.bias_parts != nullptr ? 2 : 1);
  sum_of_parts_kernel<<<grid, dim3(32, kSummedTogether), 0, s>>>(params);
}

}  // namespace ringtron
