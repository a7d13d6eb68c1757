// Dropout on the GPU: the same words as dropout_cpu.cpp, four neighbouring elements a thread.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "ringtron/base/random.h"
#include "ringtron/kernels/dropout/dropout_params.h"

namespace ringtron {
namespace {

// Wide as in dropout_cpu.cpp.
template <class T, class Wide>
__global__ void dropout_kernel(DropoutParams p) {
  const std::int64_t quads_per_line = (p.width + 3) / 4 + 1;  // a line may start inside a block of four words
  const std::int64_t total = p.rows * p.batch * quads_per_line;
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  for (std::int64_t t = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; t < total;
       t += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t line = t / quads_per_line;
    const std::uint64_t stream = static_cast<std::uint64_t>(p.samples[line % p.batch]);
    const std::uint64_t first = static_cast<std::uint64_t>(p.positions[line / p.batch] * p.width);
    const std::uint64_t block_index = (first >> 2) + static_cast<std::uint64_t>(t % quads_per_line);
    const PhiloxBlock block = philox4x32(p.key, stream, block_index);
    for (int j = 0; j < 4; ++j) {
      const std::int64_t i = static_cast<std::int64_t>(block_index * 4 + j - first);
      if (i < 0 || i >= p.width) continue;
      const std::int64_t at = line * p.width + i;
      const bool keep = block.v[j] >= p.threshold;
      y[at] = keep ? static_cast<T>(static_cast<Wide>(x[at]) * static_cast<Wide>(p.scale)) : static_cast<T>(0.0f);
    }
  }
}

template <class T, class Wide = T>
void launch(const DropoutParams& params, cudaStream_t stream) {
  const std::int64_t threads = params.rows * params.batch * ((params.width + 3) / 4 + 1);
  if (threads == 0) return;
  const std::int64_t blocks = (threads + 255) / 256;
  dropout_kernel<T, Wide><<<static_cast<unsigned>(blocks < 65535 ? blocks : 65535), 256, 0, stream>>>(params);
}

}  // namespace

void dropout_cuda(const DropoutParams& params, DropoutType type, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  switch (type) {
    case DropoutType::f64:
      return launch<double>(params, s);
    case DropoutType::f32:
      return launch<float>(params, s);
    case DropoutType::f16:
      return launch<__half, float>(params, s);
    case DropoutType::bf16:
      return launch<__nv_bfloat16, float>(params, s);
  }
}

}  // namespace ringtron
