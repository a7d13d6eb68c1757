// What the fused attention kernels are built of: tiles of rows in shared memory, and fragments, a warp's 16 rows of a
// product. Thread 4 r + c of the warp has columns 2c and 2c + 1 of each eight, in rows r (elements 0, 1) and r + 8 (2,
// 3): the layout of mma.sync m16n8k16 and of wgmma alike (PTX ISA 9.7.14 and 9.7.15).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "ringtron/kernels/fused_attention/fused_attention_params.h"

namespace ringtron::fused {

constexpr int kWarps = 8;  // that compute

// Whether some warps of a block only load tiles (tile_queue.cuh).
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
constexpr bool kOwnLoaders = true;
#else
constexpr bool kOwnLoaders = false;
#endif

constexpr int kRowsOfWarp = 16, kResident = kWarps * kRowsOfWarp;  // rows that a block of threads keeps
constexpr int kStreamed = 64;                                      // rows of what passes by, at a time
constexpr float kLog2E = 1.4426950408889634f;

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % 32; }
__device__ inline int warp() { return static_cast<int>(threadIdx.x) / 32; }

// 2^x; results below 2^-126 become 0.
__device__ inline float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Rows of 16-bit numbers, kSize each, in panels of 64 columns: 128 bytes a row, in chunks of 16. A row's chunks are
// permuted by its number, so that eight rows' equal chunks lie in different banks (wgmma's 128-byte swizzle). Begins at
// a multiple of 1024 bytes.
template <int kSize, int kRows>
struct Tile {
  static constexpr int kChunks = kSize / 8, kTotal = kRows * kChunks, kPanelBytes = kRows * 128;
  uint4* data;

  __device__ uint4* chunk(int row, int chunk) const {
    return data + chunk / 8 * (kRows * 8) + row * 8 + (chunk % 8 ^ (row & 7));
  }
  __device__ std::uint32_t address(int row, int column_chunk) const {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(chunk(row, column_chunk)));
  }
};

template <int kSize>
using ResidentTile = Tile<kSize, kResident>;
template <int kSize>
using StreamedTile = Tile<kSize, kStreamed>;

// Pairs of streamed tiles, of which some are filled while others are read.
template <int kSize>
struct StagedTiles {
  uint4* memory;
  __device__ StreamedTile<kSize> first(int stage) const { return {memory + 2 * stage * StreamedTile<kSize>::kTotal}; }
  __device__ StreamedTile<kSize> second(int stage) const {
    return {memory + (2 * stage + 1) * StreamedTile<kSize>::kTotal};
  }
};

template <int kSize>
constexpr int bytes_of_rows(int rows) {
  return rows * kSize * 2;
}

__device__ inline void copy_chunk_async(void* to, const void* from, bool there) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = there ? 16 : 0;  // the rest becomes zeros
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(from), "r"(bytes));
}

// All of this thread's copies are there, also for the tensor cores; those of other threads after a barrier.
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_all;\n" ::: "memory");
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
#endif
}

// Whether this thread loads tiles, and nothing else.
__device__ inline bool only_loads() { return static_cast<int>(threadIdx.x) >= 32 * kWarps; }
// Loads tiles of rows of one head, `size` numbers each; what a thread's copies have in common is found once.
template <int kSize, int kLoaders>
class RowLoader {
 public:
  __device__ RowLoader(const AttentionRows& x, int sample, int head, int limit, int size)
      : stride_(x.row_stride), limit_(8 * column() < size ? limit - row() : 0) {
    from_ = static_cast<const std::uint16_t*>(x.data) + sample * x.sample_stride + head * x.head_stride +
            row() * x.row_stride + 8 * column();
  }

  // Begins to load rows first .. first + kRows; zeros beyond the limit and beyond the size.
  template <int kRows>
  __device__ void load(const Tile<kSize, kRows>& tile, int first) const {
    const std::uint16_t* from = from_ + first * stride_;
    uint4* to = tile.chunk(row(), column());  // kRowsAtOnce is a multiple of eight: the permutation stays
#pragma unroll
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
      copy_chunk_async(to + i * kRowsAtOnce * 8, from, first + i * kRowsAtOnce < limit_);
      from += kRowsAtOnce * stride_;
    }
  }

 private:
  static constexpr int kChunks = kSize / 8, kRowsAtOnce = kLoaders / kChunks;
  __device__ static int row() { return static_cast<int>(threadIdx.x) % kLoaders / kChunks; }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % kChunks; }

  const std::uint16_t* from_;  // nothing is read where there is nothing
  std::int64_t stride_;
  int limit_;  // of the thread's first row
};

// A fragment of 16 rows and 8 kEights columns.
template <int kEights>
using Fragment = float[kEights][4];

template <int kEights>
__device__ void clear(Fragment<kEights>& x) {
#pragma unroll
  for (int i = 0; i < kEights; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) x[i][j] = 0.0f;
  }
}

// Scores of which sees(row, column) says no become -inf.
template <int kEights, class Sees>
__device__ void apply_mask(Fragment<kEights>& scores, Sees sees) {
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (!sees(lane() / 4 + 8 * (e / 2), 8 * n + 2 * (lane() % 4) + e % 2)) scores[n][e] = -INFINITY;
    }
  }
}

// Rows begin .. end of the other side: what any of some rows sees, if row i sees i - before .. i + after.
struct Span {
  int begin, end;
};

// No sum here leaves 32 bits: rows are fewer than 2^30 - 100, bounds at most 2^30.
__device__ inline Span seen_by(int begin, int end, int before, int after, int limit) {
  return {max(begin - before, 0), min(end + after, limit)};
}

// Of any row: one that is not there has another's.
__device__ inline const QueryRow& row_of_query(const FusedAttentionParams& p, int sample, int head, int query) {
  const std::int64_t line = (static_cast<std::int64_t>(sample) * p.heads + head) * query_rows(p.s_q);
  return p.query_rows[line + min(query, p.s_q - 1)];
}

// Tiles that rows begin .. end make, of 64 each.
__device__ inline int tiles_of(int begin, int end) {
  return end > begin ? (end - begin + kStreamed - 1) / kStreamed : 0;
}

// Whether row i of the queries sees row j of the keys.
__device__ inline bool sees(const FusedAttentionParams& p, int i, int j) {
  return i < p.s_q && j < p.s_kv && j >= i - p.left && j <= i + p.right;
}

// Whether all of a rectangle is seen.
__device__ inline bool sees_all(const FusedAttentionParams& p, int i_begin, int i_end, int j_begin, int j_end) {
  return i_end <= p.s_q && j_end <= p.s_kv && j_begin >= i_end - 1 - p.left && j_end - 1 <= i_begin + p.right;
}

// Scores of 16 queries from `row` on, of which 64 keys from `key` on are not seen, become -inf.
__device__ inline void hide_unseen(const FusedAttentionParams& p, Fragment<kStreamed / 8>& scores, int row, int key) {
  if (sees_all(p, row, row + kRowsOfWarp, key, key + kStreamed)) return;
  apply_mask(scores, [&](int i, int j) { return sees(p, row + i, key + j); });
}

}  // namespace ringtron::fused
