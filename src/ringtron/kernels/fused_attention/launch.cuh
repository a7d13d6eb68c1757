// Which instance of a fused attention kernel a call needs, and its launch.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "ringtron/kernels/fused_attention/attention_tile.cuh"

namespace ringtron::fused {

// run.operator()<T, kSize, kDrops>() for numbers of type T in heads of up to kSize.
template <class Run>
cudaError_t for_kernel_of(const FusedAttentionParams& p, Run run) {
  const auto of_size = [&]<class T, int kSize>() {
    return p.drops ? run.template operator()<T, kSize, true>() : run.template operator()<T, kSize, false>();
  };
  const bool small = std::max(p.key_size, p.value_size) <= 64;
  if (p.type == Element::f16)
    return small ? of_size.template operator()<__half, 64>() : of_size.template operator()<__half, 128>();
  return small ? of_size.template operator()<__nv_bfloat16, 64>() : of_size.template operator()<__nv_bfloat16, 128>();
}

// Shared memory of a block of threads, in bytes.
struct SharedBytes {
  int own_loaders, others;  // of code with kOwnLoaders, and of other code
};

// Returns the launch's error, which no later call would name.
template <class Kernel>
cudaError_t launch_with_shared(Kernel* kernel, dim3 grid, const SharedBytes& shared, const FusedAttentionParams& params,
                               void* stream) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;
  // The launch bounds tell the host which code this device runs.
  cudaFuncAttributes attributes;
  const cudaError_t known = cudaFuncGetAttributes(&attributes, kernel);
  if (known != cudaSuccess) return known;
  const int threads = attributes.maxThreadsPerBlock, bytes = threads > 32 * kWarps ? shared.own_loaders : shared.others;
  const cudaError_t allowed = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (allowed != cudaSuccess) return allowed;
  kernel<<<grid, static_cast<unsigned>(threads), static_cast<std::size_t>(bytes), static_cast<cudaStream_t>(stream)>>>(
      params);
  return cudaGetLastError();
}

}  // namespace ringtron::fused
