// Which probabilities of a fragment are dropped.
#pragma once

#include <cstdint>

#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"
#include "ringtron/kernels/fused_attention/attention_tile.cuh"

namespace ringtron::fused {

// Bit 4 n + e: element e of eight n of a fragment of eight eights.
using Dropped = std::uint32_t;

__device__ inline bool is_dropped(Dropped dropped, int n, int e) { return (dropped >> (4 * n + e)) & 1; }

class DropoutOfHead {
 public:
  __device__ DropoutOfHead(const FusedAttentionParams& params, int sample, int head)
      : p_(params), stream_(attention_dropout_stream(params.samples[sample], params.head_offset + head)) {}

  // Rows of the fragment are queries at these positions (rows r and r + 8 of this thread), columns 64 rows of k from `key` on.
  __device__ Dropped by_query(const std::int64_t (&queries)[2], int key) const {
    const int l = lane();
    if (!p_.blocks) {
      return each([&](int row, int column) { return drops(queries[row], key_position(key + column)); });
    }
    // Four threads have the eight keys of a block, in the same two rows. Of each two eights and two rows, each draws for one.
    const int turn = l % 4;
    const std::int64_t query = queries[turn % 2];
    std::uint32_t mine = 0;
#pragma unroll
    for (int m = 0; m < 4; ++m) mine |= block(query, key_position(key + 8 * (2 * m + turn / 2))) << (8 * m);
    Dropped bits = 0;
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const std::uint32_t of_turn = __shfl_sync(0xffffffffu, mine, l / 4 * 4 + t);
      bits |= ((of_turn >> (2 * turn)) & 0x03030303u) << (2 * t);
    }
    return bits;
  }

  // Rows of the fragment are keys, from row `key` of k on; columns 64 rows of q from `query` on.
  __device__ Dropped by_key(int key, int query) const {
    const int l = lane(), r = l / 4, c = l % 4;
    if (!p_.blocks) {
      return each([&](int row, int column) { return drops(query_position(query + column), key_position(key + r + 8 * row)); });
    }
    // Eight threads have the eight keys of a block. Of each two eights of queries, with two queries and two blocks of keys in
    // each, each draws for one.
    const std::int64_t position = key_position(key + 8 * (r % 4 / 2));
    std::uint32_t mine = 0;
#pragma unroll
    for (int m = 0; m < 4; ++m) mine |= block(query_position(query + 8 * (2 * m + r / 4) + 2 * c + r % 2), position) << (8 * m);
    Dropped bits = 0;
#pragma unroll
    for (int t = 0; t < 8; ++t) {
      const std::uint32_t of_turn = __shfl_sync(0xffffffffu, mine, 4 * t + c);
      bits |= ((of_turn >> r) & 0x01010101u) << t;
    }
    return bits;
  }

 private:
  // Rows that are not there may have any position.
  __device__ std::int64_t key_position(int j) const { return p_.key_positions[j < p_.s_kv ? j : p_.s_kv - 1]; }
  __device__ std::int64_t query_position(int i) const { return p_.query_positions[i < p_.s_q ? i : p_.s_q - 1]; }

  // Bit i: the key at position / 8 * 8 + i is dropped.
  __device__ std::uint32_t block(std::int64_t query, std::int64_t position) const {
    return dropped_keys(p_.dropout_key, stream_, p_.threshold, query, position / kKeysOfBlock);
  }

  __device__ bool drops(std::int64_t query, std::int64_t key) const { return (block(query, key) >> (key % kKeysOfBlock)) & 1; }

  template <class F>
  __device__ Dropped each(F dropped) const {
    Dropped bits = 0;
    for (int i = 0; i < 32; ++i) {
      const int n = i / 4, e = i % 4;
      bits |= (dropped(e / 2, 8 * n + 2 * (lane() % 4) + e % 2) ? 1u : 0u) << i;
    }
    return bits;
  }

  const FusedAttentionParams& p_;
  std::uint64_t stream_;
};

}  // namespace ringtron::fused
