// Adds the gradient of an embedding on the GPU. Ids are sorted: a block begins with each and goes on where it is the
// first of its kind, through all that are equal, so that every row has one owner and sums have one order.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/embedding/embedding_gradient_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 128;
constexpr int kTogether = 4;  // rows whose loads are under way at once

__global__ void __launch_bounds__(kThreads) gradient_kernel(const __grid_constant__ EmbeddingGradientParams p) {
  const std::int64_t first = blockIdx.x, id = p.sorted[first];
  if (id < 0 || id >= p.rows || (first > 0 && p.sorted[first - 1] == id)) return;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * 8;
  if (column >= p.width) return;
  Vector8 sum = load8(p.gradient, id * p.width + column, Element::f32);
  for (std::int64_t begin = first; begin < p.count && p.sorted[begin] == id; begin += kTogether) {
    Bits8 bits[kTogether];
    bool equal[kTogether];
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      const std::int64_t i = begin + k;
      equal[k] = i < p.count && p.sorted[i] == id;
      if (equal[k]) bits[k] = load_bits8(p.dy, p.order[i] * p.width + column, p.type);
    }
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      if (!equal[k]) continue;
      const Vector8 x = numbers_of(bits[k], p.type);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum.v[e] += x.v[e];
    }
  }
  store8(p.gradient, id * p.width + column, Element::f32, sum);
}

}  // namespace

void embedding_gradient_cuda(const EmbeddingGradientParams& p, void* stream) {
  if (p.count == 0) return;
  constexpr std::int64_t kColumns = kThreads * 8;
  const dim3 grid(static_cast<unsigned>(p.count), static_cast<unsigned>((p.width + kColumns - 1) / kColumns));
  gradient_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(p);
}

}  // namespace ringtron
