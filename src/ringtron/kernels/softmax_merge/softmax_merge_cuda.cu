// The merge on the GPU: sixteen threads for each row of each head, one read of both parts and one write.
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
__device__ float weight(float part, float whole) { return isinf(part) && part < 0 ? 0.0f : expf(part - whole); }

__global__ void __launch_bounds__(kThreads) merge_kernel(SoftmaxMergeParams p) {
  const std::int64_t total = p.rows * p.samples * p.heads;
  const std::int64_t item = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) / kLanes;
  const int lane = threadIdx.x % kLanes;
  const bool works = item < total;
  const std::int64_t head = item % p.heads, sample = item / p.heads % p.samples, row = item / p.heads / p.samples;
  const std::int64_t b_row = row - p.first_row;
  const bool covered = works && b_row >= 0 && b_row < p.part_rows;
  float lse = 0, w_a = 0, w_b = 0;
  if (works) {
    const float lse_a = p.a.lse[lse_at(p.a, row, sample, head)];
    const float lse_b = covered ? p.b.lse[lse_at(p.b, b_row, sample, head)] : -INFINITY;
    const float most = fmaxf(lse_a, lse_b);
    lse = most == -INFINITY ? most : most + logf(expf(lse_a - most) + expf(lse_b - most));
    w_a = weight(lse_a, lse);
    w_b = weight(lse_b, lse);
    if (!(lse_a == lse_a) || !(lse_b == lse_b)) lse = w_a = NAN;  // fmaxf would hide it
  }
  __syncwarp();  // the whole may be `a` itself: all lanes have read its lse before one writes it
  if (!works) return;
  if (lane == 0) p.whole.lse[lse_at(p.whole, row, sample, head)] = lse;
  for (std::int64_t i = lane * 8; i < p.size; i += kLanes * 8) {
    Vector8 sum{};
    if (w_a != 0) {  // what a part without keys holds may be anything
      sum = load8(p.a.out, at(p.a, row, sample, head) + i, p.a.type);
#pragma unroll
      for (float& x : sum.v) x *= w_a;
    }
    if (w_b != 0) {
      const Vector8 more = load8(p.b.out, at(p.b, b_row, sample, head) + i, p.b.type);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum.v[j] = fmaf(more.v[j], w_b, sum.v[j]);
    }
    store8(p.whole.out, at(p.whole, row, sample, head) + i, p.whole.type, sum);
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
