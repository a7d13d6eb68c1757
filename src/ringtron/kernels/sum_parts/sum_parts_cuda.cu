// The sum on the GPU: eight neighbouring elements a thread, each part read once, the sum written once.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/sum_parts/sum_parts_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) sum_kernel(SumPartsParams p) {
  const std::int64_t i = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8;
  if (i >= p.elements) return;
  Vector8 sum{};
#pragma unroll
  for (int part = 0; part < SumPartsParams::kMost; ++part) {
    if (part >= p.count) break;
    const SummedPart& from = p.parts[part];
    if (i < from.begin || i >= from.end) continue;
    const Vector8 x = load8(from.x, from.offset + i - from.begin, from.type);
#pragma unroll
    for (int j = 0; j < 8; ++j) sum.v[j] += x.v[j];
  }
  store8(p.sum, i, p.type, sum);
}

}  // namespace

void sum_parts_cuda(const SumPartsParams& params, void* stream) {
  const std::int64_t threads = params.elements / 8;
  if (threads == 0) return;
  sum_kernel<<<static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0,
               static_cast<cudaStream_t>(stream)>>>(params);
}

}  // namespace ringtron
