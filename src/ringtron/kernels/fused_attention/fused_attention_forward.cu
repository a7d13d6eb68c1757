// The forward of fused attention: a block of threads keeps 128 queries of one head and lets the keys and values that
// they see pass by, 64 at a time, with the softmax rescaled as its largest score grows (FlashAttention-2,
// arXiv:2307.08691, algorithm 1).
#include <cuda_runtime.h>

#include "ringtron/kernels/fused_attention/attention_products.cuh"
#include "ringtron/kernels/fused_attention/dropout_of_head.cuh"
#include "ringtron/kernels/fused_attention/launch.cuh"

namespace ringtron {
namespace {

using namespace fused;

constexpr int kEights = kStreamed / 8;

template <int kSize>
constexpr int kSharedBytes = bytes_of_rows<kSize>(kResident + 4 * kStreamed);

// Of a thread's two rows.
struct Softmax {
  float most[2] = {-INFINITY, -INFINITY};  // largest score
  float sum[2] = {0, 0};                   // of this thread's columns
};

// Scores become exp(score - most); what was added up before is made to fit.
template <int kSize>
__device__ void take_exponentials(Fragment<kEights>& scores, Softmax& softmax, Fragment<kSize / 8>& out, float scale) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    float most = softmax.most[row];
#pragma unroll
    for (int n = 0; n < kEights; ++n) most = fmaxf(most, fmaxf(scores[n][2 * row], scores[n][2 * row + 1]));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
    const float base = most == -INFINITY ? 0.0f : most * scale;
    const float shrink = power_of_two(softmax.most[row] * scale - base);
    softmax.most[row] = most;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kEights; ++n) {
#pragma unroll
      for (int e = 2 * row; e < 2 * row + 2; ++e) {
        scores[n][e] = power_of_two(fmaf(scores[n][e], scale, -base));
        sum += scores[n][e];
      }
    }
    softmax.sum[row] = softmax.sum[row] * shrink + sum;
    if (__all_sync(0xffffffffu, shrink == 1.0f)) continue;  // mostly, after the first few keys
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n) {
      out[n][2 * row] *= shrink;
      out[n][2 * row + 1] *= shrink;
    }
  }
}

// Rows row + r and row + r + 8 of the output, and their log-sum-exp.
template <int kSize>
__device__ void store(const FusedAttentionParams& p, const Softmax& softmax, const Fragment<kSize / 8>& out, int row,
                      int sample, int head) {
  const int r = lane() / 4, c = lane() % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float sum = softmax.sum[i];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    const int query = row + r + 8 * i;
    if (query >= p.s_q) continue;
    const float weight = sum > 0 || sum != sum ? p.keep / sum : 0.0f;
    float* to = p.out + ((static_cast<std::int64_t>(query) * p.batch + sample) * p.heads + head) * p.value_size;
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n) {
      if (8 * n >= p.value_size) break;
      *reinterpret_cast<float2*>(to + 8 * n + 2 * c) = make_float2(out[n][2 * i] * weight, out[n][2 * i + 1] * weight);
    }
    if (c != 0) continue;
    const float lse = sum == 0 ? -INFINITY : softmax.most[i] * p.scale + logf(sum);
    p.lse[(static_cast<std::int64_t>(sample) * p.heads + head) * p.s_q + query] = lse;
  }
}

__device__ void drop(Fragment<kEights>& x, const DroppedByQuery& dropped) {
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (dropped.at(n, e)) x[n][e] = 0.0f;
    }
  }
}

template <class T, int kSize, bool kDrops>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ FusedAttentionParams p) {
  extern __shared__ __align__(1024) uint4 memory[];
  const ResidentTile<kSize> q{memory};
  const StagedTiles<kSize> staged{memory + ResidentTile<kSize>::kTotal};
  // Under a causal mask the last queries see most keys: they begin first.
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kResident;
  const int head = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z),
            group = head / (p.heads / p.groups);
  const Span span = seen_by(first, min(first + kResident, p.s_q), p.left, p.right, p.s_kv);
  const int row = first + kRowsOfWarp * warp();
  const RowLoader<kSize> k(p.k, sample, group, p.s_kv, p.key_size), v(p.v, sample, group, p.s_kv, p.value_size);
  const auto load = [&](int stage, int key) {
    k.load(staged.first(stage), key);
    v.load(staged.second(stage), key);
    end_copies();
  };

  Softmax softmax;
  Fragment<kSize / 8> out;
  clear<kSize / 8>(out);
  std::int64_t positions[2] = {0, 0};
  if constexpr (kDrops) {
    for (int i = 0; i < 2; ++i) positions[i] = p.query_positions[min(row + lane() / 4 + 8 * i, p.s_q - 1)];
  }
  const float scale = p.scale * kLog2E;
  int key = span.begin / kStreamed * kStreamed, stage = 0;
  RowLoader<kSize>(p.q, sample, head, p.s_q, p.key_size).load(q, first);
  load(0, key);
  for (; key < span.end; key += kStreamed, stage ^= 1) {
    wait_for_copies();
    __syncthreads();
    Fragment<kEights> scores;
    begin_products(scores);
    product_of_rows<T, kSize>(scores, q, staged.first(stage));
    load(stage ^ 1, key + kStreamed);  // meanwhile
    DroppedByQuery dropped;
    if constexpr (kDrops) dropped = DropoutOfHead(p, sample, head).by_query(positions, key);
    finish_products(scores);
    if (!sees_all(p, row, row + kRowsOfWarp, key, key + kStreamed)) {
      apply_mask(scores, [&](int i, int j) { return sees(p, row + i, key + j); });
    }
    take_exponentials<kSize>(scores, softmax, out, scale);
    if constexpr (kDrops) drop(scores, dropped);
    Left<T, kEights> weights(scores);
    begin_products(out, weights);
    add_product<T, kSize>(out, weights, staged.second(stage));
    finish_products(out, weights);
  }
  wait_for_copies();  // of what nobody reads

  store<kSize>(p, softmax, out, row, sample, head);
}

}  // namespace

int fused_attention_forward_cuda(const FusedAttentionParams& params, void* stream) {
  const dim3 grid(static_cast<unsigned>((params.s_q + kResident - 1) / kResident), static_cast<unsigned>(params.heads),
                  static_cast<unsigned>(params.batch));
  return for_kernel_of(params, [&]<class T, int kSize, bool kDrops>() {
    return launch_with_shared(forward_kernel<T, kSize, kDrops>, grid, kSharedBytes<kSize>, params, stream);
  });
}

}  // namespace ringtron
