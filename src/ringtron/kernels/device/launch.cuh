// The launch of a kernel as a plain function, and its dynamic shared memory: what a compiler for the host cannot read
// is here, so that the rest of a kernel compiles there too (tests/kernels/on_host).
#pragma once

#include <cuda_runtime.h>

namespace ringtron {

// Begins at a multiple of 128 bytes.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

// `shared`: bytes of dynamic shared memory. A grid without blocks is nothing. A launch that the device refuses is seen
// by the next check of LibTorch, as of any kernel.
template <class Params>
void launch(void (*kernel)(Params), dim3 grid, dim3 threads, int shared, const Params& params, void* stream) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  constexpr int kAlwaysAllowed = 48 * 1024;
  if (shared > kAlwaysAllowed) cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  kernel<<<grid, threads, static_cast<std::size_t>(shared), static_cast<cudaStream_t>(stream)>>>(params);
}

}  // namespace ringtron
