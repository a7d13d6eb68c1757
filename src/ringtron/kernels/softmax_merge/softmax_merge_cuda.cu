// The merge on the GPU: sixteen threads for each row of a head, one read of each part and one write.
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

// log(sum of exp(lse_i)) of up to kMost parts; `lse` becomes the weights of the parts.
template <int kParts>
__device__ float weights_of(float (&lse)[kParts]) {
  float most = -INFINITY;
  bool bad = false;
#pragma unroll
  for (const float x : lse) {
    most = fmaxf(most, x);
    bad = bad || x != x;  // fmaxf would hide a NaN
  }
  float sum = 0;
#pragma unroll
  for (const float x : lse) sum += x == -INFINITY ? 0.0f : expf(x - most);
  const float whole = bad ? NAN : (most == -INFINITY ? most : most + logf(sum));
#pragma unroll
  for (float& x : lse) x = weight(x, whole);
  return whole;
}

// A block for each row of each sample; threads in groups of kLanes, a group for each head.
template <int kParts>
__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ SoftmaxMergeParams p) {
  const int samples = static_cast<int>(p.samples), heads = static_cast<int>(p.heads), size = static_cast<int>(p.size);
  const int row = static_cast<int>(blockIdx.x) / samples, sample = static_cast<int>(blockIdx.x) % samples;
  const int lane = threadIdx.x % kLanes, groups = kThreads / kLanes;
  for (int first = 0; first < heads; first += groups) {
    const int head = first + static_cast<int>(threadIdx.x) / kLanes;
    const bool works = head < heads;
    float weights[kParts];
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const std::int64_t part_row = row - p.parts[i].first_row;
      const bool covered = works && part_row >= 0 && part_row < p.parts[i].rows;
      weights[i] = covered ? p.parts[i].lse[lse_at(p.parts[i], part_row, sample, head)] : -INFINITY;
    }
    const float lse = weights_of(weights);
    __syncwarp();  // the whole may be the first part: all lanes have read its lse before one writes it
    if (!works) continue;
    if (lane == 0) p.whole.lse[lse_at(p.whole, row, sample, head)] = lse;
    for (int i = lane * 8; i < size; i += kLanes * 8) {
      Vector8 sum{};
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        if (weights[part] == 0) continue;  // what a part without keys holds may be anything
        const SoftmaxMergePart& from = p.parts[part];
        const Vector8 x = load8(from.out, at(from, row - from.first_row, sample, head) + i, from.type);
#pragma unroll
        for (int j = 0; j < 8; ++j) sum.v[j] = fmaf(x.v[j], weights[part], sum.v[j]);
      }
      store8(p.whole.out, at(p.whole, row, sample, head) + i, p.whole.type, sum);
    }
  }
}

}  // namespace

void softmax_merge_cuda(const SoftmaxMergeParams& params, void* stream) {
  const std::int64_t blocks = params.rows * params.samples;
  if (blocks == 0 || params.heads == 0) return;
  const auto s = static_cast<cudaStream_t>(stream);
  const auto grid = static_cast<unsigned>(blocks);
  if (params.count <= 1) return merge_kernel<1><<<grid, kThreads, 0, s>>>(params);
  if (params.count == 2) return merge_kernel<2><<<grid, kThreads, 0, s>>>(params);
  merge_kernel<SoftmaxMergeParams::kMost><<<grid, kThreads, 0, s>>>(params);
}

}  // namespace ringtron
