// What the kernels of the scan are built of: tiles of 64 rows in shared memory, and a warp's fragments of them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "ringtron/kernels/device/warp_products.cuh"
#include "ringtron/kernels/ssd_scan/ssd_params.h"

namespace ringtron::ssd {

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % 32; }
__device__ inline int warp() { return static_cast<int>(threadIdx.x) / 32; }

// 64 rows of 16-bit numbers in chunks of 16 bytes, which are permuted by the row, so that eight rows' equal chunks lie
// in different banks.
template <int kColumns>
struct Tile {
  static constexpr int kChunks = kColumns / 8, kBytes = kSsdChunk * kColumns * 2;
  unsigned char* memory;

  __device__ unsigned char* chunk(int row, int chunk) const {
    return memory + (row * kChunks + (chunk ^ (row & 7))) * 16;
  }
  // The word with columns `column` and the next, which is odd.
  __device__ std::uint32_t& word(int row, int column) const {
    return *reinterpret_cast<std::uint32_t*>(chunk(row, column / 8) + column % 8 * 2);
  }
};

using SizeTile = Tile<kSsdMostSize>;
using StateTile = Tile<kSsdMostStates>;

// Begins to load rows 0 to `rows` of `columns` numbers each; the rest of the tile becomes zeros.
template <int kThreads, int kColumns>
__device__ void load_tile(const Tile<kColumns>& tile, const void* data, std::int64_t row_stride, int rows,
                          int columns) {
  constexpr int kChunks = Tile<kColumns>::kChunks, kRowsAtOnce = kThreads / kChunks;
  static_assert(kRowsAtOnce % 8 == 0);  // the permutation stays
  const int row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks;
  const auto* from = static_cast<const std::uint16_t*>(data) + row * row_stride + 8 * chunk;
  unsigned char* const to = tile.chunk(row, chunk);
  const int there = 8 * chunk < columns ? rows - row : 0;
#pragma unroll
  for (int i = 0; i < kSsdChunk / kRowsAtOnce; ++i) {
    copy_async(to + i * kRowsAtOnce * kChunks * 16, from, i * kRowsAtOnce < there);
    from += kRowsAtOnce * row_stride;
  }
}

// Rows of a chunk, of one head or group.
template <int kThreads, int kColumns>
__device__ void load_rows(const Tile<kColumns>& tile, const SsdRows& x, const SsdShape& shape, const SsdChunk& chunk,
                          int first_column, int columns) {
  load_tile<kThreads>(tile, static_cast<const std::uint16_t*>(x.data) + chunk.row * x.row_stride + first_column,
                      shape.samples * x.row_stride, static_cast<int>(chunk.rows), columns);
}

// The steps of one chunk and head to shared memory, by the block's first threads.
__device__ inline void load_steps(float* to, const float* steps, std::int64_t chunk, int heads, int head) {
  constexpr int kNumbers = kSteps * kSsdChunk;
  const int at = static_cast<int>(threadIdx.x);
  if (at < kNumbers / 4) copy_async(to + 4 * at, steps + (chunk * heads + head) * kNumbers + 4 * at, true);
}

using Words = std::uint32_t[4];

// Rows and columns are multiples of 16 in what follows, so that the last bit of a chunk's number is a lane's.

// 16 x 16 numbers as the left side of a product: rows of a tile, or its columns, k along the rows.
template <int kColumns>
__device__ void left_of_rows(Words& a, const Tile<kColumns>& tile, int row, int column) {
  load_matrices(a, tile.chunk(row + lane() % 16, column / 8 ^ lane() / 16));
}
template <int kColumns>
__device__ void left_of_columns(Words& a, const Tile<kColumns>& tile, int row, int column) {
  load_matrices_transposed(a, tile.chunk(row + lane() % 8 + lane() / 16 * 8, column / 8 ^ lane() / 8 % 2));
}

// 16 numbers of k for 16 columns of a product as its right side, words 0 and 1 for the first eight: the columns are
// rows of a tile, or columns.
template <int kColumns>
__device__ void right_of_rows(Words& b, const Tile<kColumns>& tile, int row, int column) {
  load_matrices(b, tile.chunk(row + lane() % 8 + lane() / 16 * 8, column / 8 ^ lane() / 8 % 2));
}
template <int kColumns>
__device__ void right_of_columns(Words& b, const Tile<kColumns>& tile, int row, int column) {
  load_matrices_transposed(b, tile.chunk(row + lane() % 8 + lane() / 8 % 2 * 8, column / 8 ^ lane() / 16));
}

// Two neighbouring eights of columns.
template <class T>
__device__ void multiply_pair(float (&c)[4], float (&next)[4], const Words& a, const Words& b) {
  multiply<T>(c, a, b[0], b[1]);
  multiply<T>(next, a, b[2], b[3]);
}

template <int kEights>
using Fragment = float[kEights][4];

template <int kEights>
__device__ void clear(Fragment<kEights>& x) {
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) x[n][e] = 0.0f;
  }
}

// Of a fragment: which row of 16 the elements 0, 1 (half 0) or 2, 3 (half 1) are in, and the column of the first.
__device__ inline int row_of(int half) { return lane() / 4 + 8 * half; }
__device__ inline int column_of() { return lane() % 4 * 2; }

// Of four neighbouring eights of columns each lane has one word of a row; lane c of the four gets all of the c-th.
__device__ inline uint4 whole_eight(const Words& words) {
  const bool odd = lane() % 2 != 0, high = lane() % 4 >= 2;
  const std::uint32_t near = __shfl_xor_sync(0xffffffffu, odd ? words[0] : words[1], 1);
  const std::uint32_t far = __shfl_xor_sync(0xffffffffu, odd ? words[2] : words[3], 1);
  const std::uint32_t low0 = odd ? near : words[0], low1 = odd ? words[1] : near;
  const std::uint32_t high0 = odd ? far : words[2], high1 = odd ? words[3] : far;
  const std::uint32_t other0 = __shfl_xor_sync(0xffffffffu, high ? low0 : high0, 2);
  const std::uint32_t other1 = __shfl_xor_sync(0xffffffffu, high ? low1 : high1, 2);
  return high ? make_uint4(other0, other1, high0, high1) : make_uint4(low0, low1, other0, other1);
}

// Stores four eights of one row, `first` the first of them: 16 bytes a lane. `row`: where the row's column 0 goes, null
// for a row that is not there; columns from `columns` on are left out.
template <class T>
__device__ void store_eights(void* row, int first_column, int columns, const float (*first)[4], int half) {
  Words words;
#pragma unroll
  for (int n = 0; n < 4; ++n) words[n] = packed<T>(first[n][2 * half], first[n][2 * half + 1]);
  const uint4 eight = whole_eight(words);
  const int column = first_column + lane() % 4 * 8;
  if (row != nullptr && column < columns) *reinterpret_cast<uint4*>(static_cast<T*>(row) + column) = eight;
}

// The sum over the four lanes that share a row of a fragment, in all of them.
__device__ inline float sum_of_four(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// The number of documents that have begun in the chunk up to a row.
__device__ inline int document_of(std::uint64_t starts, int row) {
  return __popcll(starts & (~std::uint64_t{0} >> (63 - row)));
}

// The first row of its chunk that a row sees: where its document begins, 0 if before the chunk.
__device__ inline int first_seen(std::uint64_t starts, int row) {
  const std::uint64_t before = starts & (~std::uint64_t{0} >> (63 - row));
  return before == 0 ? 0 : 63 - __clzll(static_cast<long long>(before));
}

// Heads first to end of the group and split that a block has.
struct HeadRange {
  int group, first, end;

  __device__ HeadRange(const SsdShape& shape, int splits) {
    const int of_group = shape.heads / shape.groups, split = static_cast<int>(blockIdx.y) % splits;
    const int of_split = (of_group + splits - 1) / splits;
    group = static_cast<int>(blockIdx.y) / splits;
    first = group * of_group + min(split * of_split, of_group);
    end = group * of_group + min((split + 1) * of_split, of_group);
  }
};

}  // namespace ringtron::ssd
