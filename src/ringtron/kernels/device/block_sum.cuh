// Sums over the threads that share a row: all of a block, or one warp of it.
#pragma once

#include <cuda_runtime.h>

namespace ringtron {

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

__device__ inline float warp_max(float x) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
  return x;
}

// The sum of `x` and of `y` over the blockDim.x threads of a row, in all of them. A row of one warp needs no memory; of
// more warps a block has one row only, and each call takes the other half of `shared`, so that one barrier is enough.
struct RowSum {
  float2* shared;  // [2][32]
  int calls = 0;

  __device__ float2 operator()(float x, float y) {
    x = warp_sum(x);
    y = warp_sum(y);
    const int warps = blockDim.x / 32;
    if (warps == 1) return {x, y};
    float2* const half = shared + 32 * (calls++ % 2);
    if (threadIdx.x % 32 == 0) half[threadIdx.x / 32] = {x, y};
    __syncthreads();
    const int lane = threadIdx.x % 32;
    const float2 own = lane < warps ? half[lane] : float2{0.0f, 0.0f};
    return {warp_sum(own.x), warp_sum(own.y)};
  }
};

}  // namespace ringtron
