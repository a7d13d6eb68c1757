// Attention dropout on the GPU: the words of attention_dropout.cpp, four neighbouring columns a thread. Columns of one
// range that starts at a multiple of four share one Philox block; others make at most four.
#include <cuda_runtime.h>

#include "ringtron/context_parallel/attention_dropout_params.h"

namespace ringtron {
namespace {

template <class T>
__global__ void factors_kernel(AttentionDropoutParams p) {
  const std::int64_t quads = (p.columns + 3) / 4;
  const std::int64_t total = p.batch * p.heads * p.rows * quads;
  T* factors = static_cast<T*>(p.factors);
  const T keep = static_cast<T>(p.keep);
  for (std::int64_t t = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; t < total;
       t += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t line = t / quads;  // (sample, head, row)
    const std::int64_t head = p.head_offset + line / p.rows % p.heads;
    const std::uint64_t stream = attention_dropout_stream(p.samples[line / (p.rows * p.heads)], head);
    const std::int64_t query = p.queries[line % p.rows];
    const std::int64_t first = t % quads * 4;
    const std::int64_t last = first + 4 < p.columns ? first + 4 : p.columns;
    std::int64_t block = -1;
    PhiloxBlock words{};
    for (std::int64_t column = first; column < last; ++column) {
      const std::int64_t position = p.keys[column];
      if (position / 4 != block) {
        block = position / 4;
        words = attention_dropout_words(p.key, stream, query, block);
      }
      factors[line * p.columns + column] = words.v[position & 3] < p.threshold ? T(0) : keep;
    }
  }
}

template <class T>
void launch(const AttentionDropoutParams& p, cudaStream_t stream) {
  const std::int64_t threads = p.batch * p.heads * p.rows * ((p.columns + 3) / 4);
  if (threads == 0) return;
  const std::int64_t blocks = (threads + 255) / 256;
  factors_kernel<T><<<static_cast<unsigned>(blocks < 65535 ? blocks : 65535), 256, 0, stream>>>(p);
}

}  // namespace

void attention_dropout_cuda(const AttentionDropoutParams& params, bool fp64, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  if (fp64) return launch<double>(params, s);
  return launch<float>(params, s);
}

}  // namespace ringtron
