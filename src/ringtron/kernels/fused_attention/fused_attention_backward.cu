// The backward of fused attention (FlashAttention-2, arXiv:2307.08691, algorithm 2) as two kernels, so that each
// gradient is added up by one block of threads in a fixed order: the bits are the same each time, for scores that are
// computed twice. One keeps 128 keys and values and lets the queries that see them pass by, with all scores transposed;
// the other keeps 128 queries and lets keys and values pass by.
#include <cuda_runtime.h>

#include "ringtron/kernels/fused_attention/attention_products.cuh"
#include "ringtron/kernels/fused_attention/dropout_of_head.cuh"
#include "ringtron/kernels/fused_attention/launch.cuh"

namespace ringtron {
namespace {

using namespace fused;

constexpr int kEights = kStreamed / 8;

template <int kSize>
constexpr int kTileBytes = bytes_of_rows<kSize>(2 * kResident + 4 * kStreamed);
constexpr int kStatisticBytes = 4 * kStreamed * static_cast<int>(sizeof(float));  // lse and delta of two stages

// lse for an exponential of base 2; +inf of a query that sees no key, so that its probabilities are 0.
__device__ float lse_of(const FusedAttentionParams& p, int sample, int head, int query) {
  const float lse =
      query < p.s_q ? p.lse[(static_cast<std::int64_t>(sample) * p.heads + head) * p.s_q + query] : -INFINITY;
  return lse == -INFINITY ? INFINITY : lse * kLog2E;
}

__device__ float delta_of(const FusedAttentionParams& p, int sample, int head, int query) {
  return query < p.s_q ? p.delta[(static_cast<std::int64_t>(sample) * p.heads + head) * p.s_q + query] : 0.0f;
}

// Rows row + r and row + r + 8 of a gradient [rows, b, heads, size].
template <int kSize>
__device__ void store_rows(float* to, const Fragment<kSize / 8>& x, float scale, int row, int rows, int sample,
                           int batch, int head, int heads, int size) {
  const int r = lane() / 4, c = lane() % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int at = row + r + 8 * i;
    if (at >= rows) continue;
    float* place = to + ((static_cast<std::int64_t>(at) * batch + sample) * heads + head) * size;
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n) {
      if (8 * n >= size) break;
      *reinterpret_cast<float2*>(place + 8 * n + 2 * c) = make_float2(x[n][2 * i] * scale, x[n][2 * i + 1] * scale);
    }
  }
}

template <class T, int kSize, bool kDrops>
__global__ void __launch_bounds__(kThreads) query_gradient_kernel(const __grid_constant__ FusedAttentionParams p) {
  extern __shared__ __align__(1024) uint4 memory[];
  const ResidentTile<kSize> q{memory}, d_out{memory + ResidentTile<kSize>::kTotal};
  const StagedTiles<kSize> staged{memory + 2 * ResidentTile<kSize>::kTotal};
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kResident;
  const int head = blockIdx.y, sample = blockIdx.z, group = head / (p.heads / p.groups);
  const Span span = seen_by(first, min(first + kResident, p.s_q), p.left, p.right, p.s_kv);
  const int row = first + kRowsOfWarp * warp(), r = lane() / 4;
  const RowLoader<kSize> k(p.k, sample, group, p.s_kv, p.key_size), v(p.v, sample, group, p.s_kv, p.value_size);
  const auto load = [&](int stage, int key) {
    k.load(staged.first(stage), key);
    v.load(staged.second(stage), key);
    end_copies();
  };

  Fragment<kSize / 8> dq;
  clear<kSize / 8>(dq);
  float lse[2], delta[2];
  std::int64_t positions[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    lse[i] = lse_of(p, sample, head, row + r + 8 * i);
    delta[i] = delta_of(p, sample, head, row + r + 8 * i);
    if constexpr (kDrops) positions[i] = p.query_positions[min(row + r + 8 * i, p.s_q - 1)];
  }
  const float scale = p.scale * kLog2E;
  int key = span.begin / kStreamed * kStreamed, stage = 0;
  RowLoader<kSize>(p.q, sample, head, p.s_q, p.key_size).load(q, first);
  RowLoader<kSize>(p.d_out, sample, head, p.s_q, p.value_size).load(d_out, first);
  load(0, key);
  for (; key < span.end; key += kStreamed, stage ^= 1) {
    wait_for_copies();
    __syncthreads();
    Fragment<kEights> scores, ds;
    begin_products(scores, ds);
    product_of_rows<T, kSize>(scores, q, staged.first(stage));
    product_of_rows<T, kSize>(ds, d_out, staged.second(stage));
    load(stage ^ 1, key + kStreamed);  // meanwhile
    DroppedByQuery dropped;
    if constexpr (kDrops) dropped = DropoutOfHead(p, sample, head).by_query(positions, key);
    finish_products(scores, ds);
    if (!sees_all(p, row, row + kRowsOfWarp, key, key + kStreamed)) {
      apply_mask(scores, [&](int i, int j) { return sees(p, row + i, key + j); });
    }
#pragma unroll
    for (int n = 0; n < kEights; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float weight = power_of_two(fmaf(scores[n][e], scale, -lse[e / 2]));
        const float keep = kDrops && dropped.at(n, e) ? 0.0f : p.keep;
        ds[n][e] = weight * (ds[n][e] * keep - delta[e / 2]);
      }
    }
    Left<T, kEights> left(ds);
    begin_products(dq, left);
    add_product<T, kSize>(dq, left, staged.first(stage));
    finish_products(dq, left);
  }
  wait_for_copies();  // of what nobody reads
  store_rows<kSize>(p.dq, dq, p.scale, row, p.s_q, sample, p.batch, head, p.heads, p.key_size);
}

// Scores become probabilities as dropout leaves them, and gradients of those become gradients of scores; rows are keys,
// lse and delta of the columns.
template <bool kDrops>
__device__ void take_weights(Fragment<kEights>& scores, Fragment<kEights>& ds, const float* lse, const float* delta,
                             const DroppedByKey& dropped, float scale, float factor) {
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
    const int column = 8 * n + 2 * (lane() % 4);  // and the next
    const float2 of_lse = *reinterpret_cast<const float2*>(lse + column),
                 of_delta = *reinterpret_cast<const float2*>(delta + column);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float weight = power_of_two(fmaf(scores[n][e], scale, -(e % 2 == 0 ? of_lse.x : of_lse.y)));
      const float keep = kDrops && dropped.at(n, e) ? 0.0f : factor;
      scores[n][e] = weight * keep;
      ds[n][e] = weight * (ds[n][e] * keep - (e % 2 == 0 ? of_delta.x : of_delta.y));
    }
  }
}

template <class T, int kSize, bool kDrops>
__global__ void __launch_bounds__(kThreads) key_gradient_kernel(const __grid_constant__ FusedAttentionParams p) {
  extern __shared__ __align__(1024) uint4 memory[];
  const ResidentTile<kSize> k{memory}, v{memory + ResidentTile<kSize>::kTotal};
  const StagedTiles<kSize> staged{memory + 2 * ResidentTile<kSize>::kTotal};
  float* const lse = reinterpret_cast<float*>(staged.first(2).data);  // [stage][query]
  float* const delta = lse + 2 * kStreamed;
  const int first = static_cast<int>(blockIdx.x) * kResident;  // under a causal mask the first keys have most queries
  const int group = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z), heads = p.heads / p.groups;
  const Span span = seen_by(first, min(first + kResident, p.s_kv), p.right, p.left, p.s_q);
  const int begin = span.begin / kStreamed * kStreamed;
  const int tiles = span.end > begin ? (span.end - begin + kStreamed - 1) / kStreamed : 0;
  const int row = first + kRowsOfWarp * warp();
  const auto head_of = [&](int step) { return group * heads + step / tiles; };
  const auto query_of = [&](int step) { return begin + step % tiles * kStreamed; };
  const auto load = [&](int stage, int step) {
    const int head = head_of(step), query = query_of(step);
    RowLoader<kSize>(p.q, sample, head, p.s_q, p.key_size).load(staged.first(stage), query);
    RowLoader<kSize>(p.d_out, sample, head, p.s_q, p.value_size).load(staged.second(stage), query);
    end_copies();
    const int t = static_cast<int>(threadIdx.x);
    if (t >= kStreamed) return;
    lse[stage * kStreamed + t] = lse_of(p, sample, head, query + t);
    delta[stage * kStreamed + t] = delta_of(p, sample, head, query + t);
  };

  Fragment<kSize / 8> dk, dv;
  clear<kSize / 8>(dk);
  clear<kSize / 8>(dv);
  const float scale = p.scale * kLog2E;
  RowLoader<kSize>(p.k, sample, group, p.s_kv, p.key_size).load(k, first);
  RowLoader<kSize>(p.v, sample, group, p.s_kv, p.value_size).load(v, first);
  const int steps = heads * tiles;
  if (steps > 0) load(0, 0);
  for (int step = 0; step < steps; ++step) {
    const int stage = step % 2, query = query_of(step);
    wait_for_copies();
    __syncthreads();
    Fragment<kEights> weights, ds;
    begin_products(weights, ds);
    product_of_rows<T, kSize>(weights, k, staged.first(stage));
    product_of_rows<T, kSize>(ds, v, staged.second(stage));
    if (step + 1 < steps) load(stage ^ 1, step + 1);
    DroppedByKey dropped;
    if constexpr (kDrops) dropped = DropoutOfHead(p, sample, head_of(step)).by_key(row, query);
    finish_products(weights, ds);
    if (!sees_all(p, query, query + kStreamed, row, row + kRowsOfWarp)) {
      apply_mask(weights, [&](int j, int i) { return sees(p, query + i, row + j); });
    }
    take_weights<kDrops>(weights, ds, lse + stage * kStreamed, delta + stage * kStreamed, dropped, scale, p.keep);
    Left<T, kEights> left_weights(weights), left_ds(ds);
    begin_products(dv, dk, left_weights, left_ds);
    add_product<T, kSize>(dv, left_weights, staged.second(stage));
    add_product<T, kSize>(dk, left_ds, staged.first(stage));
    finish_products(dv, dk, left_weights, left_ds);
  }
  wait_for_copies();  // where no query sees a key
  store_rows<kSize>(p.dk, dk, p.scale, row, p.s_kv, sample, p.batch, group, p.groups, p.key_size);
  store_rows<kSize>(p.dv, dv, 1.0f, row, p.s_kv, sample, p.batch, group, p.groups, p.value_size);
}

}  // namespace

int fused_attention_shared_bytes(int head_size) {
  return (head_size <= 64 ? kTileBytes<64> : kTileBytes<128>)+kStatisticBytes;
}

int fused_attention_backward_cuda(const FusedAttentionParams& params, void* stream) {
  const auto tiles = [](int rows) { return static_cast<unsigned>((rows + kResident - 1) / kResident); };
  const auto batch = static_cast<unsigned>(params.batch);
  return for_kernel_of(params, [&]<class T, int kSize, bool kDrops>() {
    const cudaError_t error = launch_with_shared(key_gradient_kernel<T, kSize, kDrops>,
                                                 dim3(tiles(params.s_kv), static_cast<unsigned>(params.groups), batch),
                                                 kTileBytes<kSize> + kStatisticBytes, params, stream);
    if (error != cudaSuccess) return error;
    return launch_with_shared(query_gradient_kernel<T, kSize, kDrops>,
                              dim3(tiles(params.s_q), static_cast<unsigned>(params.heads), batch), kTileBytes<kSize>,
                              params, stream);
  });
}

}  // namespace ringtron
