// The backward of fused attention (FlashAttention-2, arXiv:2307.08691, algorithm 2) as two kernels, so that each
// gradient is added up by one block of threads in a fixed order: the bits are the same each time, for scores that are
// computed twice. One keeps 128 keys and values and lets the queries that see them pass by, with all scores transposed;
// the other keeps 128 queries and lets keys and values pass by.
#include <cuda_runtime.h>

#include <algorithm>

#include "ringtron/kernels/fused_attention/attention_products.cuh"
#include "ringtron/kernels/fused_attention/dropout_of_head.cuh"
#include "ringtron/kernels/fused_attention/launch.cuh"
#include "ringtron/kernels/fused_attention/tile_queue.cuh"

namespace ringtron {
namespace {

using namespace fused;

constexpr int kEights = kStreamed / 8;

constexpr int kQueryStages = 3, kKeyStages = 2;  // of the two kernels

using QueryQueue = TileQueue<kQueryStages, 256, 208>;
using KeyQueue = TileQueue<kKeyStages, 128, 240>;
template <int kSize>
using RowsOfKeys = RowLoader<kSize, QueryQueue::kLoaders>;
template <int kSize>
using RowsOfQueries = RowLoader<kSize, KeyQueue::kLoaders>;

// Shared memory of a block of threads of either: tiles, what dropout keeps or rows of queries, barriers.
template <int kSize>
constexpr int query_gradient_bytes(bool own_loaders) {
  return bytes_of_rows<kSize>(2 * kResident + 2 * kQueryStages * kStreamed) + kQueryStages * kBytesOfKept +
         bytes_of_barriers(kQueryStages, own_loaders);
}
template <int kSize>
constexpr int key_gradient_bytes(bool own_loaders) {
  return bytes_of_rows<kSize>(2 * kResident + 2 * kKeyStages * kStreamed) +
         kKeyStages * kStreamed * static_cast<int>(sizeof(QueryRow)) + bytes_of_barriers(kKeyStages, own_loaders);
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

// Of a block of threads that has 128 queries.
template <int kSize>
struct PlaceOfQueries {
  ResidentTile<kSize> q, d_out;
  StagedTiles<kSize> staged;  // keys and values
  Kept* kept;                 // [stage][thread]
  int sample, head;
  int first;              // query
  int begin, end, tiles;  // keys that these queries see, from a multiple of 64 on

  __device__ PlaceOfQueries(const FusedAttentionParams& p, uint4* memory)
      : q{memory}, d_out{memory + ResidentTile<kSize>::kTotal}, staged{memory + 2 * ResidentTile<kSize>::kTotal} {
    kept = reinterpret_cast<Kept*>(staged.first(kQueryStages).data);
    head = static_cast<int>(blockIdx.y);
    sample = static_cast<int>(blockIdx.z);
    first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kResident;
    const Span span = seen_by(first, min(first + kResident, p.s_q), p.left, p.right, p.s_kv);
    begin = span.begin / kStreamed * kStreamed;
    end = span.end;
    tiles = tiles_of(begin, end);
  }
  __device__ void* barriers() const { return kept + kQueryStages * 32 * kWarps; }
};

// Gradients of probabilities become those of scores; rows are queries.
template <bool kDrops>
__device__ void take_gradients(const Fragment<kEights>& scores, Fragment<kEights>& ds, const float (&lse)[2],
                               const float (&delta)[2], const Kept& kept, float scale) {
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float weight = power_of_two(fmaf(scores[n][e], scale, -lse[e / 2]));
      const float of_kept = kDrops && !kept.at(n, e) ? 0.0f : ds[n][e];
      ds[n][e] = weight * (of_kept - delta[e / 2]);
    }
  }
}

template <class T, int kSize, bool kDrops, class Once, class Begin>
__device__ void query_gradient(const FusedAttentionParams& p, const PlaceOfQueries<kSize>& at, QueryQueue& queue,
                               const Once& once, const Begin& begin) {
  const int row = at.first + kRowsOfWarp * warp(), r = lane() / 4;
  const float scale = p.scale * kLog2E;
  Fragment<kSize / 8> dq;
  clear<kSize / 8>(dq);
  float lse[2], delta[2];
  for (int i = 0; i < 2; ++i) {
    const QueryRow& of_query = row_of_query(p, at.sample, at.head, row + r + 8 * i);
    lse[i] = of_query.lse;
    delta[i] = of_query.delta;
  }
  const auto kept_of = [&](int stage) { return kDrops ? at.kept[stage * 32 * kWarps + threadIdx.x] : Kept{}; };

  queue.start(once, begin);
  const auto store = [&] {
    store_rows<kSize>(p.dq, dq, p.scale, row, p.s_q, at.sample, p.batch, at.head, p.heads, p.key_size);
  };
  if (at.tiles == 0) return store();
  queue.wait(begin);
  Fragment<kEights> scores, ds;
  Left<T, kEights> left;
  begin_products(scores, ds);
  product_of_rows<T, kSize>(scores, at.q, at.staged.first(0));
  product_of_rows<T, kSize>(ds, at.d_out, at.staged.second(0));
  end_products();
  Kept kept = kept_of(0);
  wait_for_products<0>(scores, ds);
  hide_unseen(p, scores, row, at.begin);
  take_gradients<kDrops>(scores, ds, lse, delta, kept, scale);
  left = Left<T, kEights>(ds);
  // While gradients of some scores are computed, tensor cores multiply those before with their keys.
  int stage = 0;
  if (at.tiles > 1) queue.wait(begin);
  for (int key = at.begin + kStreamed; key < at.end; key += kStreamed) {
    const int before = stage;
    stage = queue.stage();
    begin_products(scores, ds, dq, left);
    product_of_rows<T, kSize>(scores, at.q, at.staged.first(stage));
    product_of_rows<T, kSize>(ds, at.d_out, at.staged.second(stage));
    end_products();
    add_product<T, kSize>(dq, left, at.staged.first(before));
    end_products();
    kept = kept_of(stage);
    wait_for_products<1>(scores, ds);
    hide_unseen(p, scores, row, key);
    take_gradients<kDrops>(scores, ds, lse, delta, kept, scale);
    hold<kEights>(ds);
    if (key + kStreamed < at.end) queue.wait(begin);  // here for the reason that the forward has
    wait_for_products<0>(dq, left);
    queue.release(before);
    left = Left<T, kEights>(ds);
  }
  begin_products(dq, left);
  add_product<T, kSize>(dq, left, at.staged.first(stage));
  end_products();
  wait_for_products<0>(dq, left);
  store();
}

template <class T, int kSize, bool kDrops>
__global__ void __launch_bounds__(QueryQueue::kThreads, 1)
    query_gradient_kernel(const __grid_constant__ FusedAttentionParams p) {
  extern __shared__ __align__(1024) uint4 memory[];
  const PlaceOfQueries<kSize> at(p, memory);
  QueryQueue queue(at.barriers(), at.tiles);
  const int group = at.head / (p.heads / p.groups);
  const RowsOfKeys<kSize> k(p.k, at.sample, group, p.s_kv, p.key_size), v(p.v, at.sample, group, p.s_kv, p.value_size);
  const DropoutOfHead dropout(p, at.sample, at.head);
  const auto once = [&] {
    RowsOfKeys<kSize>(p.q, at.sample, at.head, p.s_q, p.key_size).load(at.q, at.first);
    RowsOfKeys<kSize>(p.d_out, at.sample, at.head, p.s_q, p.value_size).load(at.d_out, at.first);
  };
  const auto begin = [&](int stage, int i) {
    const int key = at.begin + i * kStreamed;
    DropoutOfHead::Blocks blocks;
    if constexpr (kDrops) blocks = dropout.blocks(key);  // meanwhile they come
    k.load(at.staged.first(stage), key);
    v.load(at.staged.second(stage), key);
    if constexpr (kDrops) {
      const int thread = static_cast<int>(threadIdx.x) % (32 * kWarps);  // as many draw as compute
      at.kept[stage * 32 * kWarps + thread] = dropout.by_query(at.first + kRowsOfWarp * (thread / 32), key, blocks);
    }
  };
  if (only_loads()) {
    queue.load(once, begin);
  } else {
    query_gradient<T, kSize, kDrops>(p, at, queue, once, begin);
  }
}

// Scores become probabilities, rows are keys, `rows` the columns.
__device__ void take_weights(Fragment<kEights>& scores, const QueryRow* rows, float scale) {
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e)
      scores[n][e] = power_of_two(fmaf(scores[n][e], scale, -rows[8 * n + 2 * (lane() % 4) + e % 2].lse));
  }
}

// Gradients of probabilities as dropout leaves them become those of scores.
template <bool kDrops>
__device__ void take_gradients(Fragment<kEights>& ds, const Fragment<kEights>& weights, const QueryRow* rows,
                               const Kept& kept) {
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float of_kept = kDrops && !kept.at(n, e) ? 0.0f : ds[n][e];
      ds[n][e] = weights[n][e] * (of_kept - rows[8 * n + 2 * (lane() % 4) + e % 2].delta);
    }
  }
}

// Begins to load 64 rows of queries, from a multiple of 64 on.
__device__ void load_rows(const FusedAttentionParams& p, int sample, int head, int query, QueryRow* to) {
  const int t = static_cast<int>(threadIdx.x) % KeyQueue::kLoaders;
  if (t < kStreamed) copy_chunk_async(to + t, &row_of_query(p, sample, head, query) + t, true);
}

// Of a block of threads that has 128 keys.
template <int kSize>
struct PlaceOfKeys {
  ResidentTile<kSize> k, v;
  StagedTiles<kSize> staged;  // queries and gradients of outputs
  QueryRow* rows;             // [stage][query]
  int sample, group, heads;   // heads: of the group
  int first;                  // key
  int begin, tiles;           // queries that see these keys, from a multiple of 64 on; of one head

  __device__ PlaceOfKeys(const FusedAttentionParams& p, uint4* memory)
      : k{memory}, v{memory + ResidentTile<kSize>::kTotal}, staged{memory + 2 * ResidentTile<kSize>::kTotal} {
    rows = reinterpret_cast<QueryRow*>(staged.first(kKeyStages).data);
    group = static_cast<int>(blockIdx.y);
    sample = static_cast<int>(blockIdx.z);
    heads = p.heads / p.groups;
    first = static_cast<int>(blockIdx.x) * kResident;  // under a causal mask the first keys have most queries
    const Span span = seen_by(first, min(first + kResident, p.s_kv), p.right, p.left, p.s_q);
    begin = span.begin / kStreamed * kStreamed;
    tiles = tiles_of(begin, span.end);
  }
  __device__ void* barriers() const { return rows + kKeyStages * kStreamed; }
};

template <class T, int kSize, bool kDrops, class Once, class Begin>
__device__ void key_gradient(const FusedAttentionParams& p, const PlaceOfKeys<kSize>& at, KeyQueue& queue,
                             const Once& once, const Begin& begin) {
  const int row = at.first + kRowsOfWarp * warp();
  const float scale = p.scale * kLog2E;
  Fragment<kSize / 8> dk, dv;
  clear<kSize / 8>(dk);
  clear<kSize / 8>(dv);
  queue.start(once, begin);
  for (int i = 0, head = at.group * at.heads, tile = 0; i < at.heads * at.tiles; ++i) {
    queue.wait(begin);
    const int stage = queue.stage(), query = at.begin + tile * kStreamed;
    const QueryRow* const rows = at.rows + stage * kStreamed;
    Fragment<kEights> weights, ds;
    begin_products(weights, ds);
    product_of_rows<T, kSize>(weights, at.k, at.staged.first(stage));
    end_products();
    product_of_rows<T, kSize>(ds, at.v, at.staged.second(stage));
    end_products();
    Kept kept;
    if constexpr (kDrops) kept = DropoutOfHead(p, at.sample, head).by_key(row, query, rows);
    wait_for_products<1>(weights);
    if (!sees_all(p, query, query + kStreamed, row, row + kRowsOfWarp)) {
      apply_mask(weights, [&](int j, int i) { return sees(p, query + i, row + j); });
    }
    take_weights(weights, rows, scale);
    Left<T, kEights> left_weights(weights);
    if constexpr (kDrops) keep(left_weights, kept);
    hold<kEights>(weights);
    wait_for_products<0>(ds);
    begin_products(dv, left_weights);
    add_product<T, kSize>(dv, left_weights, at.staged.second(stage));
    end_products();
    take_gradients<kDrops>(ds, weights, rows, kept);
    Left<T, kEights> left_ds(ds);
    begin_products(dk, left_ds);
    add_product<T, kSize>(dk, left_ds, at.staged.first(stage));
    end_products();
    wait_for_products<0>(dv, dk, left_weights, left_ds);
    queue.release(stage);
    if (++tile == at.tiles) tile = 0, ++head;
  }
  store_rows<kSize>(p.dk, dk, p.scale, row, p.s_kv, at.sample, p.batch, at.group, p.groups, p.key_size);
  store_rows<kSize>(p.dv, dv, 1.0f, row, p.s_kv, at.sample, p.batch, at.group, p.groups, p.value_size);
}

template <class T, int kSize, bool kDrops>
__global__ void __launch_bounds__(KeyQueue::kThreads, 1)
    key_gradient_kernel(const __grid_constant__ FusedAttentionParams p) {
  extern __shared__ __align__(1024) uint4 memory[];
  const PlaceOfKeys<kSize> at(p, memory);
  KeyQueue queue(at.barriers(), at.heads * at.tiles);
  const auto once = [&] {
    RowsOfQueries<kSize>(p.k, at.sample, at.group, p.s_kv, p.key_size).load(at.k, at.first);
    RowsOfQueries<kSize>(p.v, at.sample, at.group, p.s_kv, p.value_size).load(at.v, at.first);
  };
  const auto begin = [&](int stage, int i) {
    const int head = at.group * at.heads + i / at.tiles, query = at.begin + i % at.tiles * kStreamed;
    RowsOfQueries<kSize>(p.q, at.sample, head, p.s_q, p.key_size).load(at.staged.first(stage), query);
    RowsOfQueries<kSize>(p.d_out, at.sample, head, p.s_q, p.value_size).load(at.staged.second(stage), query);
    load_rows(p, at.sample, head, query, at.rows + stage * kStreamed);
  };
  if (only_loads()) {
    queue.load(once, begin);
  } else {
    key_gradient<T, kSize, kDrops>(p, at, queue, once, begin);
  }
}

}  // namespace

int fused_attention_backward_bytes(int head_size) {
  return head_size <= 64 ? std::max(key_gradient_bytes<64>(false), query_gradient_bytes<64>(false))
                         : std::max(key_gradient_bytes<128>(false), query_gradient_bytes<128>(false));
}

int fused_attention_backward_cuda(const FusedAttentionParams& params, void* stream) {
  const auto tiles = [](int rows) { return static_cast<unsigned>((rows + kResident - 1) / kResident); };
  const auto batch = static_cast<unsigned>(params.batch);
  return for_kernel_of(params, [&]<class T, int kSize, bool kDrops>() {
    const cudaError_t error = launch_with_shared(
        key_gradient_kernel<T, kSize, kDrops>, dim3(tiles(params.s_kv), static_cast<unsigned>(params.groups), batch),
        {key_gradient_bytes<kSize>(true), key_gradient_bytes<kSize>(false)}, params, stream);
    if (error != cudaSuccess) return error;
    return launch_with_shared(query_gradient_kernel<T, kSize, kDrops>,
                              dim3(tiles(params.s_q), static_cast<unsigned>(params.heads), batch),
                              {query_gradient_bytes<kSize>(true), query_gradient_bytes<kSize>(false)}, params, stream);
  });
}

}  // namespace ringtron
