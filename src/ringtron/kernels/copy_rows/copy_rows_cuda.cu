// Copies of rows on the GPU: a row of the grid for each copy, 16 bytes a thread.
#include <cuda_runtime.h>

#include "ringtron/kernels/copy_rows/copy_rows_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 1024;  // of one copy

__global__ void __launch_bounds__(kThreads) copy_kernel(const __grid_constant__ CopyRowsParams p) {
  const RowCopyJob& job = p.jobs[blockIdx.y];
  const uint4* from = static_cast<const uint4*>(job.from);
  uint4* to = static_cast<uint4*>(job.to);
  const std::int64_t total = job.rows * job.samples * job.chunk;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x; i < total; i += stride) {
    const std::int64_t at = i % job.chunk, line = i / job.chunk;
    const std::int64_t sample = line % job.samples, row = line / job.samples;
    to[row * job.to_row + sample * job.to_sample + at] = from[row * job.from_row + sample * job.from_sample + at];
  }
}

}  // namespace

void copy_rows_cuda(const CopyRowsParams& params, void* stream) {
  std::int64_t most = 0;
  for (int i = 0; i < params.count; ++i) {
    const RowCopyJob& job = params.jobs[i];
    const std::int64_t total = job.rows * job.samples * job.chunk;
    most = total > most ? total : most;
  }
  if (most == 0) return;
  const std::int64_t blocks = (most + kThreads * 4 - 1) / (kThreads * 4);
  const dim3 grid(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks),
                  static_cast<unsigned>(params.count));
  copy_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(params);
}

}  // namespace ringtron
