// Which probabilities of a fragment are dropped.
#pragma once

#include <cstdint>

#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"
#include "ringtron/kernels/fused_attention/attention_tile.cuh"

namespace ringtron::fused {

// Element e of eight n of a fragment of eight eights, whose rows are queries. Bits lie as the shifts of by_query()
// leave them.
struct DroppedByQuery {
  std::uint32_t bits = 0;
  __device__ static constexpr int bit(int n, int e) { return 4 * (n / 2) + 16 * (e % 2) + 2 * (n % 2) + e / 2; }
  __device__ bool at(int n, int e) const { return (bits >> bit(n, e)) & 1; }
};

// The same of one whose rows are keys, by by_key().
struct DroppedByKey {
  std::uint32_t bits = 0;
  __device__ static constexpr int bit(int n, int e) { return 4 * (n / 2) + 16 * (n % 2) + e; }
  __device__ bool at(int n, int e) const { return (bits >> bit(n, e)) & 1; }
};

class DropoutOfHead {
 public:
  __device__ DropoutOfHead(const FusedAttentionParams& params, int sample, int head)
      : p_(params), stream_(attention_dropout_stream(params.samples[sample], params.head_offset + head)) {}

  // Rows of the fragment are queries at these positions (rows r and r + 8 of this thread), columns 64 rows of k from
  // `key` on.
  __device__ DroppedByQuery by_query(const std::int64_t (&queries)[2], int key) const {
    const int l = lane(), turn = l % 4;
    if (!p_.blocks) {
      return each<DroppedByQuery>([&](int row, int column) { return drops(queries[row], key_position(key + column)); });
    }
    // Four threads have the eight keys of a block, two each, in the same two rows. Of each two eights and two rows,
    // each draws for one.
    const std::int64_t query = turn % 2 == 0 ? queries[0] : queries[1];
    std::uint32_t mine = 0;
#pragma unroll
    for (int m = 0; m < 4; ++m) mine |= block(query, key_position(key + 8 * (2 * m + turn / 2))) >> (12 - 4 * m);
    DroppedByQuery dropped;
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const std::uint32_t of_turn = __shfl_sync(0xffffffffu, mine, l / 4 * 4 + t);
      dropped.bits |= ((of_turn >> (3 - turn)) & 0x11111111u) << t;
    }
    return dropped;
  }

  // Rows of the fragment are keys, from row `key` of k on; columns 64 rows of q from `query` on.
  __device__ DroppedByKey by_key(int key, int query) const {
    const int l = lane(), r = l / 4, c = l % 4;
    if (!p_.blocks) {
      return each<DroppedByKey>(
          [&](int row, int column) { return drops(query_position(query + column), key_position(key + r + 8 * row)); });
    }
    // Eight threads have the eight keys of a block. Of each two eights of queries, with two queries and two blocks of
    // keys in each, each draws for one.
    const std::int64_t position = key_position(key + 8 * (r % 4 / 2));
    std::uint32_t mine = 0;
#pragma unroll
    for (int m = 0; m < 4; ++m)
      mine |= block(query_position(query + 8 * (2 * m + r / 4) + 2 * c + r % 2), position) >> (12 - 4 * m);
    DroppedByKey dropped;
    const int shift = 3 + 16 * (r % 2) - r / 2;
#pragma unroll
    for (int t = 0; t < 8; ++t) {
      const std::uint32_t of_turn = __shfl_sync(0xffffffffu, mine, 4 * t + c);
      dropped.bits |= ((of_turn >> shift) & 0x1111u) << (t % 4 + 16 * (t / 4));
    }
    return dropped;
  }

 private:
  // Rows that are not there may have any position.
  __device__ std::int64_t key_position(int j) const { return p_.key_positions[min(j, p_.s_kv - 1)]; }
  __device__ std::int64_t query_position(int i) const { return p_.query_positions[min(i, p_.s_q - 1)]; }

  // dropped_keys() of the block of the key at `position`.
  __device__ std::uint32_t block(std::int64_t query, std::int64_t position) const {
    return dropped_keys(p_.dropout_key, stream_, p_.threshold, query,
                        static_cast<std::int64_t>(static_cast<std::uint64_t>(position) / kKeysOfBlock));
  }

  __device__ bool drops(std::int64_t query, std::int64_t key) const {
    return is_dropped(block(query, key), static_cast<int>(key % kKeysOfBlock));
  }

  template <class Dropped, class F>
  __device__ Dropped each(F drops) const {
    Dropped dropped;
    for (int i = 0; i < 32; ++i) {
      const int n = i / 4, e = i % 4;
      dropped.bits |= (drops(e / 2, 8 * n + 2 * (lane() % 4) + e % 2) ? 1u : 0u) << Dropped::bit(n, e);
    }
    return dropped;
  }

  const FusedAttentionParams& p_;
  std::uint64_t stream_;
};

}  // namespace ringtron::fused
