// Attention dropout on the GPU: the words of context_parallel/block/attention_dropout.cpp, eight neighbouring columns a
// thread. Columns of one range that starts at a multiple of eight share one Philox block; others make at most eight.
#include <cuda_runtime.h>

#include "ringtron/kernels/attention_dropout/attention_dropout_params.h"
#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"

namespace ringtron {
namespace {

template <class T>
__global__ void factors_kernel(AttentionDropoutParams p) {
  const std::int64_t parts = (p.columns + kKeysOfBlock - 1) / kKeysOfBlock;
  const std::int64_t total = p.batch * p.heads * p.rows * parts;
  T* factors = static_cast<T*>(p.factors);
  const T keep = static_cast<T>(p.keep);
  for (std::int64_t t = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; t < total;
       t += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t line = t / parts;  // (sample, head, row)
    const std::int64_t head = p.head_offset + line / p.rows % p.heads;
    const std::uint64_t stream = attention_dropout_stream(p.samples[line / (p.rows * p.heads)], head);
    const std::int64_t query = p.queries[line % p.rows];
    const std::int64_t first = t % parts * kKeysOfBlock;
    const std::int64_t last = first + kKeysOfBlock < p.columns ? first + kKeysOfBlock : p.columns;
    std::int64_t block = -1;
    std::uint32_t dropped = 0;
    for (std::int64_t column = first; column < last; ++column) {
      const std::int64_t position = p.keys[column];
      if (position / kKeysOfBlock != block) {
        block = position / kKeysOfBlock;
        dropped = dropped_keys(p.key, stream, p.threshold, query, block);
      }
      factors[line * p.columns + column] = is_dropped(dropped, static_cast<int>(position % kKeysOfBlock)) ? T(0) : keep;
    }
  }
}

template <class T>
void launch(const AttentionDropoutParams& p, cudaStream_t stream) {
  const std::int64_t threads = p.batch * p.heads * p.rows * ((p.columns + kKeysOfBlock - 1) / kKeysOfBlock);
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
