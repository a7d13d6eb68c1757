// The merge on the GPU: sixteen threads for each row of each head, one read of each part and one write.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/softmax_merge/softmax_merge_params.h"

namespace ringtron {
namespace {

constexpr int kLanes = 16;  // threads of one row
constexpr int kThreads = 256;

__device__ std::int64_t at(const SoftmaxMergePart& p, std::int64_t row, std::int64_t sample, std::int64_t head) {
  return row * p.row_stride + sample * p.sample_stride + head * p.head_stride;
}

__device__ std::int64_t lse_at(const SoftmaxMergePart& p, std::int64_t row, std::int64_t sample, std::int64_t head) {
  return row * p.lse_row_stride + sample * p.lse_sample_stride + head * p.lse_head_stride;
}

// exp(part - whole), 0 for a part without keys.
__device__ float weight(float part, float whole) { return part == -INFINITY ? 0.0f : expf(part - whole); }

__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ SoftmaxMergeParams p) {
  const std::int64_t total = p.rows * p.samples * p.heads;
  const std::int64_t item = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) / kLanes;
  const int lane = threadIdx.x % kLanes;
  const bool works = item < total;
  const std::int64_t head = item % p.heads, sample = item / p.heads % p.samples, row = item / p.heads / p.samples;
  float weights[SoftmaxMergeParams::kMost];
  float most = -INFINITY, lse = -INFINITY;
  bool bad = false;
#pragma unroll
  for (int i = 0; i < SoftmaxMergeParams::kMost; ++i) {
    weights[i] = -INFINITY;
    const std::int64_t part_row = row - p.parts[i].first_row;
    if (!works || i >= p.count || part_row < 0 || part_row >= p.parts[i].rows) continue;
    weights[i] = p.parts[i].lse[lse_at(p.parts[i], part_row, sample, head)];
    bad = bad || weights[i] != weights[i];  // fmaxf would hide a NaN
    most = fmaxf(most, weights[i]);
  }
  if (most != -INFINITY) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < SoftmaxMergeParams::kMost; ++i) sum += expf(weights[i] - most);
    lse = bad ? NAN : most + logf(sum);
  }
  __syncwarp();  // the whole may be the first part: all lanes have read its lse before one writes it
  if (!works) return;
  if (lane == 0) p.whole.lse[lse_at(p.whole, row, sample, head)] = lse;
#pragma unroll
  for (float& w : weights) w = weight(w, lse);
  for (std::int64_t at_size = lane * 8; at_size < p.size; at_size += kLanes * 8) {
    Vector8 sum{};
#pragma unroll
    for (int i = 0; i < SoftmaxMergeParams::kMost; ++i) {
      if (weights[i] == 0) continue;  // what a part without keys holds may be anything
      const Vector8 x = load8(p.parts[i].out, at(p.parts[i], row - p.parts[i].first_row, sample, head) + at_size,
                              p.parts[i].type);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum.v[j] = fmaf(x.v[j], weights[i], sum.v[j]);
    }
    store8(p.whole.out, at(p.whole, row, sample, head) + at_size, p.whole.type, sum);
  }
}

}  // namespace

void softmax_merge_cuda(const SoftmaxMergeParams& params, void* stream) {
  const std::int64_t threads = params.rows * params.samples * params.heads * kLanes;
  if (threads == 0) return;
  merge_kernel<<<static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0,
                 static_cast<cudaStream_t>(stream)>>>(params);
}

}  // namespace ringtron
