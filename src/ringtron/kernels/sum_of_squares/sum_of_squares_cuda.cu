// Sums of squares on the GPU: each block of threads gives one sum, in fp64, of a fixed range, so that the bits are the
// same in every run.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/block_sum.cuh"
#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/sum_of_squares/sum_of_squares_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 512;

__device__ float load_one(const void* base, std::int64_t at, Element type) {
  if (type == Element::f32) return static_cast<const float*>(base)[at];
  if (type == Element::f16) return __half2float(static_cast<const __half*>(base)[at]);
  return __bfloat162float(static_cast<const __nv_bfloat16*>(base)[at]);
}

__global__ void __launch_bounds__(kThreads) sum_of_squares_kernel(const __grid_constant__ SumOfSquaresParams p) {
  __shared__ float2 shared[64];
  RowSum row_sum{shared};
  const SquaredSegment& t = p.tensors.of_block(blockIdx.x);
  const std::int64_t begin = (blockIdx.x - t.first_block) * kSquaresBlock;
  float sum = 0.0f;
#pragma unroll
  for (int k = 0; k < kSquaresBlock / (kThreads * 8); ++k) {
    const std::int64_t at = begin + (k * kThreads + static_cast<int>(threadIdx.x)) * 8;
    if (at + 8 <= t.elements) {
      const Vector8 x = load8(t.x, at, t.type);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += x.v[i] * x.v[i];
    } else {
      for (std::int64_t i = at; i < t.elements; ++i) {
        const float x = load_one(t.x, i, t.type);
        sum += x * x;
      }
    }
  }
  const float total = row_sum(sum, 0.0f).x;
  if (threadIdx.x == 0) p.sums[blockIdx.x] = static_cast<double>(total);
}

}  // namespace

void sum_of_squares_cuda(const SumOfSquaresParams& params, void* stream) {
  if (params.tensors.blocks == 0) return;
  sum_of_squares_kernel<<<static_cast<unsigned>(params.tensors.blocks), kThreads, 0,
                          static_cast<cudaStream_t>(stream)>>>(params);
}

}  // namespace ringtron
