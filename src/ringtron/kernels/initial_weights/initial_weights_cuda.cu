// Initial weights drawn where they are wanted. Each thread draws one element and throws the pair's other one away: it
// is done once in a run, and runs may begin at odd elements.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "ringtron/kernels/initial_weights/draws.h"
#include "ringtron/kernels/initial_weights/initial_weights_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 256;

__device__ std::int64_t global_of(const InitialWeightsParams& p, std::int64_t local) {
  int low = 0, high = p.run_count - 1;  // the last that does not begin behind it
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (p.runs[middle].local <= local)
      low = middle;
    else
      high = middle - 1;
  }
  return p.runs[low].global + (local - p.runs[low].local);
}

template <class Draw>
__global__ void __launch_bounds__(kThreads)
    initial_weights_kernel(const __grid_constant__ InitialWeightsParams p, Draw draw) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x; i < p.elements; i += step) {
    const std::int64_t global = global_of(p, i);
    const TwoDraws two = draw(p.key, p.stream, static_cast<std::uint64_t>(global >> 1));
    const double x = global & 1 ? two.second : two.first;
    if (p.wide != nullptr) {
      p.wide[i] = x;
      continue;
    }
    const float narrow = static_cast<float>(x);  // through fp32, as on the host
    if (p.type == Element::f32) static_cast<float*>(p.out)[i] = narrow;
    if (p.type == Element::f16) static_cast<__half*>(p.out)[i] = __float2half_rn(narrow);
    if (p.type == Element::bf16) static_cast<__nv_bfloat16*>(p.out)[i] = __float2bfloat16_rn(narrow);
  }
}

}  // namespace

void initial_weights_cuda(const InitialWeightsParams& params, void* stream) {
  if (params.elements == 0) return;
  const std::int64_t blocks = (params.elements + kThreads - 1) / kThreads;
  const unsigned grid = static_cast<unsigned>(blocks < 1 << 20 ? blocks : 1 << 20);
  const auto s = static_cast<cudaStream_t>(stream);
  if (params.uniform)
    initial_weights_kernel<<<grid, kThreads, 0, s>>>(params, UniformPair{params.scale});
  else
    initial_weights_kernel<<<grid, kThreads, 0, s>>>(params, NormalPair{params.scale});
}

}  // namespace ringtron
