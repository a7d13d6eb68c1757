// The forward of fused attention: a block of threads keeps 128 queries of one head and lets the keys and values that
// they see pass by, 64 at a time, with the softmax rescaled as its largest score grows (FlashAttention-2,
// arXiv:2307.08691, algorithm 1).
#include <cuda_runtime.h>

#include "ringtron/kernels/fused_attention/attention_products.cuh"
#include "ringtron/kernels/fused_attention/dropout_of_head.cuh"
#include "ringtron/kernels/fused_attention/launch.cuh"
#include "ringtron/kernels/fused_attention/tile_queue.cuh"

namespace ringtron {
namespace {

using namespace fused;

constexpr int kEights = kStreamed / 8;

// A block of threads elsewhere has too little shared memory for four.
constexpr int stages(bool own_loaders) { return own_loaders ? 4 : 3; }
constexpr int kStages = stages(kOwnLoaders);
using Queue = TileQueue<kStages, 256, 208>;
template <int kSize>
using Rows = RowLoader<kSize, Queue::kLoaders>;

// Queries, keys and values, what dropout keeps, barriers.
template <int kSize>
constexpr int bytes_of(bool own_loaders) {
  return bytes_of_rows<kSize>(kResident + 2 * stages(own_loaders) * kStreamed) + stages(own_loaders) * kBytesOfKept +
         bytes_of_barriers(stages(own_loaders), own_loaders);
}

// Of a thread's two rows.
struct Softmax {
  float most[2] = {-INFINITY, -INFINITY};  // largest score
  float sum[2] = {0, 0};                   // of this thread's columns
};

// Scores become exp(score - most). What was added up before fits after a product with `shrink`, of a thread's two rows.
__device__ void take_exponentials(Fragment<kEights>& scores, Softmax& softmax, float (&shrink)[2], float scale) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    float most = softmax.most[row];
#pragma unroll
    for (int n = 0; n < kEights; ++n) most = fmaxf(most, fmaxf(scores[n][2 * row], scores[n][2 * row + 1]));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
    const float base = most == -INFINITY ? 0.0f : most * scale;
    shrink[row] = power_of_two(softmax.most[row] * scale - base);
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
    softmax.sum[row] = softmax.sum[row] * shrink[row] + sum;
  }
}

template <int kSize>
__device__ void multiply_rows_by(Fragment<kSize / 8>& out, const float (&shrink)[2]) {
  if (__all_sync(0xffffffffu, shrink[0] == 1.0f && shrink[1] == 1.0f)) return;  // mostly, after the first few keys
#pragma unroll
  for (int n = 0; n < kSize / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) out[n][e] *= shrink[e / 2];
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

// Of a block of threads.
template <int kSize>
struct Place {
  ResidentTile<kSize> q;
  StagedTiles<kSize> staged;  // keys and values
  Kept* kept;                 // [stage][thread]
  int sample, head;
  int first;              // query
  int begin, end, tiles;  // keys that these queries see, from a multiple of 64 on

  __device__ Place(const FusedAttentionParams& p, uint4* memory)
      : q{memory}, staged{memory + ResidentTile<kSize>::kTotal} {
    kept = reinterpret_cast<Kept*>(staged.first(kStages).data);
    head = static_cast<int>(blockIdx.y);
    sample = static_cast<int>(blockIdx.z);
    // Under a causal mask the last queries see most keys: they begin first.
    first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kResident;
    const Span span = seen_by(first, min(first + kResident, p.s_q), p.left, p.right, p.s_kv);
    begin = span.begin / kStreamed * kStreamed;
    end = span.end;
    tiles = tiles_of(begin, end);
  }
  __device__ void* barriers() const { return kept + kStages * 32 * kWarps; }
};

template <class T, int kSize, bool kDrops, class Once, class Begin>
__device__ void attend(const FusedAttentionParams& p, const Place<kSize>& at, Queue& queue, const Once& once,
                       const Begin& begin) {
  const int row = at.first + kRowsOfWarp * warp();
  const float scale = p.scale * kLog2E;
  Softmax softmax;
  Fragment<kSize / 8> out;
  clear<kSize / 8>(out);
  const auto kept_of = [&](int stage) { return kDrops ? at.kept[stage * 32 * kWarps + threadIdx.x] : Kept{}; };

  queue.start(once, begin);
  if (at.tiles == 0) return store<kSize>(p, softmax, out, row, at.sample, at.head);
  first_turn();
  queue.wait(begin);
  wait_for_turn();
  Left<T, kSize / 8> queries(at.q);
  Left<T, kEights> weights;
  Fragment<kEights> scores;
  begin_products(scores, queries);
  product_of_rows<T, kSize>(scores, queries, at.staged.first(0));
  end_products();
  give_turn();
  wait_for_products<0>(scores, queries);
  float shrink[2];
  hide_unseen(p, scores, row, at.begin);
  take_exponentials(scores, softmax, shrink, scale);
  weights = Left<T, kEights>(scores);
  if constexpr (kDrops) keep(weights, kept_of(0));
  // While the softmax of some keys is computed, tensor cores multiply the weights of those before with their values.
  int stage = 0;
  if (at.tiles > 1) queue.wait(begin);
  for (int key = at.begin + kStreamed; key < at.end; key += kStreamed) {
    const int before = stage;
    stage = queue.stage();
    wait_for_turn();
    begin_products(scores, out, queries, weights);
    product_of_rows<T, kSize>(scores, queries, at.staged.first(stage));
    end_products();
    add_product<T, kSize>(out, weights, at.staged.second(before));
    end_products();
    give_turn();
    const Kept kept = kept_of(stage);
    wait_for_products<1>(scores, queries);
    hide_unseen(p, scores, row, key);
    take_exponentials(scores, softmax, shrink, scale);
    hold<kEights>(scores);
    // Here, for the compiler takes the wait for products to before the softmax where nothing branches in between.
    if (key + kStreamed < at.end) queue.wait(begin);
    wait_for_products<0>(out, weights);
    queue.release(before);
    multiply_rows_by<kSize>(out, shrink);
    weights = Left<T, kEights>(scores);
    if constexpr (kDrops) keep(weights, kept);
  }
  begin_products(out, weights);
  add_product<T, kSize>(out, weights, at.staged.second(stage));
  end_products();
  wait_for_products<0>(out, weights);
  store<kSize>(p, softmax, out, row, at.sample, at.head);
}

template <class T, int kSize, bool kDrops>
__global__ void __launch_bounds__(Queue::kThreads, 1) forward_kernel(const __grid_constant__ FusedAttentionParams p) {
  extern __shared__ __align__(1024) uint4 memory[];
  const Place<kSize> at(p, memory);
  Queue queue(at.barriers(), at.tiles);
  const int group = at.head / (p.heads / p.groups);
  const Rows<kSize> k(p.k, at.sample, group, p.s_kv, p.key_size), v(p.v, at.sample, group, p.s_kv, p.value_size);
  const DropoutOfHead dropout(p, at.sample, at.head);
  const auto once = [&] { Rows<kSize>(p.q, at.sample, at.head, p.s_q, p.key_size).load(at.q, at.first); };
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
    attend<T, kSize, kDrops>(p, at, queue, once, begin);
  }
}

}  // namespace

int fused_attention_forward_cuda(const FusedAttentionParams& params, void* stream) {
  const dim3 grid(static_cast<unsigned>((params.s_q + kResident - 1) / kResident), static_cast<unsigned>(params.heads),
                  static_cast<unsigned>(params.batch));
  return for_kernel_of(params, [&]<class T, int kSize, bool kDrops>() {
    return launch_with_shared(forward_kernel<T, kSize, kDrops>, grid, {bytes_of<kSize>(true), bytes_of<kSize>(false)},
                              params, stream);
  });
}

int fused_attention_forward_bytes(int head_size) {
  return head_size <= 64 ? bytes_of<64>(false) : bytes_of<128>(false);
}

}  // namespace ringtron
