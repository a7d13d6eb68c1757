// Cross entropy on the GPU: a block takes a row of logits, reads it once for the loss, and once more to turn it into
// its gradient.
#include <cuda_runtime.h>

#include "ringtron/kernels/cross_entropy/cross_entropy_params.h"
#include "ringtron/kernels/device/block_sum.cuh"
#include "ringtron/kernels/device/vector8.cuh"

namespace ringtron {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;

__device__ float block_max(float x, float* shared) {
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  const int lane = threadIdx.x % 32;
  return warp_max(lane < kWarps ? shared[lane] : -INFINITY);
}

__device__ float block_sum(float x, float* shared) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  const int lane = threadIdx.x % 32;
  return warp_sum(lane < kWarps ? shared[lane] : 0.0f);
}

__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ CrossEntropyForwardParams p) {
  __shared__ float peaks[kWarps], sums[kWarps];
  const std::int64_t row = blockIdx.x, first = row * p.shape.width;
  const std::int64_t target = p.targets[row] - p.shape.first;
  float peak = -INFINITY, sum = 0.0f;
  for (std::int64_t at = threadIdx.x * 8; at < p.shape.real; at += kThreads * 8) {
    Vector8 x = load8(p.logits, first + at, p.shape.type);
    float largest = peak;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (at + i >= p.shape.real) x.v[i] = -INFINITY;
      largest = fmaxf(largest, x.v[i]);
    }
    if (largest == -INFINITY) continue;
    sum *= __expf(peak - largest);
    peak = largest;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      sum += __expf(x.v[i] - peak);
      if (at + i == target) p.predicted[row] = x.v[i];
    }
  }
  const float row_peak = block_max(peak, peaks);
  const float row_sum = block_sum(peak == -INFINITY ? 0.0f : sum * __expf(peak - row_peak), sums);
  if (threadIdx.x != 0) return;
  p.peak[row] = row_peak;
  p.sum[row] = row_sum;
  if (target < 0 || target >= p.shape.real) p.predicted[row] = 0.0f;
}

__global__ void __launch_bounds__(kThreads) backward_kernel(const __grid_constant__ CrossEntropyBackwardParams p) {
  const std::int64_t row = blockIdx.x, first = row * p.shape.width;
  const std::int64_t target = p.targets[row] - p.shape.first;
  const float log_sum = p.log_sum[row], d_loss = p.d_loss[row];
  for (std::int64_t at = threadIdx.x * 8; at < p.shape.width; at += kThreads * 8) {
    Vector8 x = load8(p.logits, first + at, p.shape.type);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float probability = at + i < p.shape.real ? __expf(x.v[i] - log_sum) : 0.0f;
      // A row whose loss does not count has a gradient of 0 whatever its logits are.
      const bool predicted = at + i == target && target < p.shape.real;
      x.v[i] = d_loss == 0.0f ? 0.0f : d_loss * (predicted ? probability - 1.0f : probability);
    }
    store8(p.d_logits, first + at, p.shape.type, x);
  }
}

}  // namespace

void cross_entropy_forward_cuda(const CrossEntropyForwardParams& params, void* stream) {
  if (params.shape.rows == 0) return;
  forward_kernel<<<static_cast<unsigned>(params.shape.rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(params);
}

void cross_entropy_backward_cuda(const CrossEntropyBackwardParams& params, void* stream) {
  if (params.shape.rows == 0) return;
  backward_kernel<<<static_cast<unsigned>(params.shape.rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(params);
}

}  // namespace ringtron
