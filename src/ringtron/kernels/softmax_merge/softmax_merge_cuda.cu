// The merge on the GPU: a block for each row of a sample. Its threads find the parts' weights once for each head, and
// meanwhile load what these will weigh; one read of each part and one write.
#include <cuda_runtime.h>

#include <algorithm>

#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/softmax_merge/softmax_merge_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 256;

// exp(part - whole), 0 for a part without keys.
__device__ float weight(float part, float whole) { return part == -INFINITY ? 0.0f : expf(part - whole); }

// log(sum of exp(lse_i)) of up to kMost parts; `lse` becomes the weights of the parts.
template <int kParts>
__device__ float weights_of(float (&lse)[kParts]) {
  float most = -INFINITY;
  bool bad = false;
#pragma unroll
  for (const float x : lse) {
    most = fmaxf(most, x);
    bad = bad || x != x;  // fmaxf would hide a NaN
  }
  float sum = 0;
#pragma unroll
  for (const float x : lse) sum += x == -INFINITY ? 0.0f : expf(x - most);
  const float whole = bad ? NAN : (most == -INFINITY ? most : most + logf(sum));
#pragma unroll
  for (float& x : lse) x = weight(x, whole);
  return whole;
}

// The row's weights [part][head], a thread for each head, and its log-sum-exp.
template <int kParts>
__device__ void find_weights(const SoftmaxMergeParams& p, int row, int sample, const bool (&covered)[kParts],
                             float* weights) {
  const int heads = static_cast<int>(p.heads);
  for (int head = static_cast<int>(threadIdx.x); head < heads; head += static_cast<int>(blockDim.x)) {
    float lse[kParts];
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const SoftmaxMergePart& part = p.parts[i];
      const std::int64_t at =
          (row - part.first_row) * part.lse_row_stride + sample * part.lse_sample_stride + head * part.lse_head_stride;
      lse[i] = covered[i] ? part.lse[at] : -INFINITY;
    }
    const float whole = weights_of(lse);  // the whole may be the first part: this thread alone reads and writes its lse
    p.whole.lse[row * p.whole.lse_row_stride + sample * p.whole.lse_sample_stride + head * p.whole.lse_head_stride] =
        whole;
#pragma unroll
    for (int i = 0; i < kParts; ++i) weights[i * heads + head] = lse[i];
  }
}

// Eight elements of each part that covers the row, neighbours in one head.
template <int kParts>
struct Loaded {
  Bits8 parts[kParts];
};

template <int kParts>
__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ SoftmaxMergeParams p) {
  extern __shared__ float weights[];  // [part][head]
  const int samples = static_cast<int>(p.samples), heads = static_cast<int>(p.heads);
  const int row = static_cast<int>(blockIdx.x) / samples, sample = static_cast<int>(blockIdx.x) % samples;
  const int vectors_of_head = static_cast<int>(p.size) / 8, vectors = heads * vectors_of_head;
  bool covered[kParts];
  std::int64_t first[kParts];  // element of the row
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    const SoftmaxMergePart& part = p.parts[i];
    const std::int64_t part_row = row - part.first_row;
    covered[i] = part_row >= 0 && part_row < part.rows;
    first[i] = part_row * part.row_stride + sample * part.sample_stride;
  }
  const auto load = [&](int vector) {
    Loaded<kParts> loaded{};
    const int head = vector / vectors_of_head, element = 8 * (vector - head * vectors_of_head);
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const SoftmaxMergePart& part = p.parts[i];
      if (covered[i]) loaded.parts[i] = load_bits8(part.out, first[i] + head * part.head_stride + element, part.type);
    }
    return loaded;
  };

  int vector = static_cast<int>(threadIdx.x);
  Loaded<kParts> loaded{};
  if (vector < vectors) loaded = load(vector);
  find_weights(p, row, sample, covered, weights);
  __syncthreads();

  const std::int64_t whole_first = row * p.whole.row_stride + sample * p.whole.sample_stride;
  while (vector < vectors) {
    const int next = vector + static_cast<int>(blockDim.x);
    Loaded<kParts> ahead{};
    if (next < vectors) ahead = load(next);
    const int head = vector / vectors_of_head, element = 8 * (vector - head * vectors_of_head);
    Vector8 sum{};
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const float weight = weights[i * heads + head];
      if (weight == 0) continue;  // what a part without keys holds may be anything
      const Vector8 x = numbers_of(loaded.parts[i], p.parts[i].type);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum.v[j] = fmaf(x.v[j], weight, sum.v[j]);
    }
    store8(p.whole.out, whole_first + head * p.whole.head_stride + element, p.whole.type, sum);
    loaded = ahead;
    vector = next;
  }
}

}  // namespace

void softmax_merge_cuda(const SoftmaxMergeParams& params, void* stream) {
  const std::int64_t blocks = params.rows * params.samples;
  if (blocks == 0 || params.heads == 0) return;
  const auto s = static_cast<cudaStream_t>(stream);
  const auto grid = static_cast<unsigned>(blocks);
  const std::int64_t vectors = params.heads * (params.size / 8);
  const auto threads = static_cast<unsigned>(std::clamp<std::int64_t>((vectors + 31) / 32 * 32, 32, kThreads));
  const auto launch = [&](auto* kernel, int parts) {
    kernel<<<grid, threads, parts* static_cast<std::size_t>(params.heads) * sizeof(float), s>>>(params);
  };
  if (params.count <= 1) return launch(merge_kernel<1>, 1);
  if (params.count == 2) return launch(merge_kernel<2>, 2);
  launch(merge_kernel<SoftmaxMergeParams::kMost>, SoftmaxMergeParams::kMost);
}

}  // namespace ringtron
