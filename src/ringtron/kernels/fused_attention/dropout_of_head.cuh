// Which probabilities of a fragment dropout keeps.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"
#include "ringtron/kernels/fused_attention/attention_products.cuh"
#include "ringtron/kernels/fused_attention/attention_tile.cuh"

namespace ringtron::fused {

// Element e of eight n of a fragment of eight eights. Bits lie as the exchanges of DropoutOfHead leave them.
struct Kept {
  std::uint32_t bits = 0;
  __device__ static constexpr int bit(int n, int e) { return 8 * (n % 2) + 4 * (e / 2) + n / 2 + 16 * (e % 2); }
  __device__ bool at(int n, int e) const { return (bits >> bit(n, e)) & 1; }
  // Of two neighbours, elements 2 row and 2 row + 1, all bits of a half word or none.
  __device__ std::uint32_t halves(int n, int row) const {
    // The top bits of bytes 1 and 3, for all bits of two bytes each.
    std::uint32_t halves;
    asm("prmt.b32 %0, %1, 0, 0xBB99;" : "=r"(halves) : "r"(bits << (15 - bit(n, 2 * row))));
    return halves;
  }
};

constexpr int kBytesOfKept = 32 * kWarps * static_cast<int>(sizeof(Kept));  // of a tile, for all threads that compute

// What is dropped becomes 0.
template <class T>
__device__ void keep(Left<T, kStreamed / 8>& x, const Kept& kept) {
#pragma unroll
  for (int n = 0; n < kStreamed / 8; ++n) {
#pragma unroll
    for (int row = 0; row < 2; ++row) x.words[n / 2][n % 2 * 2 + row] &= kept.halves(n, row);
  }
}

class DropoutOfHead {
 public:
  __device__ DropoutOfHead(const FusedAttentionParams& params, int sample, int head)
      : p_(params), sample_(sample), head_(head) {}

  // What is drawn with for 64 rows of k from `key` on, a multiple of 64, of fragments whose rows are queries.
  struct Blocks {
    BlockPart of_draw[4];
  };
  __device__ Blocks blocks(int key) const {
    const BlockPart* const from = p_.key_blocks + line() * key_blocks(p_.s_kv) + key / kKeysOfBlock + lane() % 4 / 2;
    return {{from[0], from[2], from[4], from[6]}};
  }
  // Rows of the fragment are queries from `row` on, columns 64 rows of k from `key` on, those of `blocks`.
  // Four threads have the eight keys of a block, two each, in the same two rows. Of each two eights and two rows, each
  // draws for one.
  __device__ Kept by_query(int row, int key, const Blocks& blocks) const {
    if (!p_.blocks) return {each([&](int i, int j) { return keeps(row + lane() / 4 + i, key + j); })};
    const QueryPart part = row_of_query(p_, sample_, head_, row + lane() / 4 + 8 * (lane() % 2)).part;
    std::uint32_t mine = 0;
#pragma unroll
    for (int m = 0; m < 4; ++m) draw(mine, part, blocks.of_draw[m], m);
    return {exchange_nibbles(exchange_bytes(mine, 2), 1)};
  }

  // Rows of the fragment are keys from row `row` of k on, columns 64 rows of q from `query` on, of which `rows` are
  // what is found once. Eight threads have the eight keys of a block. Of each two eights of queries, with two queries
  // and two blocks of keys in each, each draws for one.
  __device__ Kept by_key(int row, int query, const QueryRow* rows) const {
    const int r = lane() / 4, c = lane() % 4;
    if (!p_.blocks) return {each([&](int i, int j) { return keeps(query + j, row + r + i); })};
    const std::int64_t all = key_blocks(p_.s_kv), at = row / kKeysOfBlock + r % 4 / 2;
    const BlockPart block = p_.key_blocks[line() * all + (at < all ? at : 0)];
    std::uint32_t mine = 0;
#pragma unroll
    for (int m = 0; m < 4; ++m) draw(mine, rows[8 * (2 * m + r / 4) + 2 * c + r % 2].part, block, m);
    return {exchange_nibbles(exchange_bytes(exchange_halves(mine, 4), 16), 8)};
  }

 private:
  // Draw m of a thread, which are four: bit 4 w + m is of the lower half of word w, bit 16 + 4 w + m of the upper.
  __device__ void draw(std::uint32_t& bits, const QueryPart& query, const BlockPart& block, int m) const {
    const PhiloxBlock words = words_of_parts(p_.dropout_key, query, block);
    // Without their top bits the halves are in the order of the numbers of 16 bits that they are, not-a-numbers last.
    const __half2_raw threshold{static_cast<unsigned short>(p_.threshold), static_cast<unsigned short>(p_.threshold)};
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      const __half2 both = __habs2(*reinterpret_cast<const __half2*>(&words.v[word]));
      bits |= __hgeu2_mask(both, threshold) & (0x00010001u << (4 * word + m));
    }
  }

  // Threads whose lanes differ in bit `distance` give each other what is of the other: the upper or lower half, the
  // upper or lower byte of each half, the upper or lower four bits of each byte. What comes from the lower lane comes
  // to lie below.
  __device__ static std::uint32_t exchange_halves(std::uint32_t x, int distance) {
    const std::uint32_t y = __shfl_xor_sync(0xffffffffu, x, distance);
    return __byte_perm(x, y, (lane() & distance) == 0 ? 0x5410 : 0x3276);
  }
  __device__ static std::uint32_t exchange_bytes(std::uint32_t x, int distance) {
    const std::uint32_t y = __shfl_xor_sync(0xffffffffu, x, distance);
    return __byte_perm(x, y, (lane() & distance) == 0 ? 0x6240 : 0x3715);
  }
  __device__ static std::uint32_t exchange_nibbles(std::uint32_t x, int distance) {
    constexpr std::uint32_t kLower = 0x0F0F0F0Fu;
    const std::uint32_t y = __shfl_xor_sync(0xffffffffu, x, distance);
    const bool below = (lane() & distance) == 0;
    return ((below ? x : y >> 4) & kLower) | ((below ? y << 4 : x) & ~kLower);
  }

  // One by one, where rows of k are not in blocks. Rows that are not there may have any position.
  __device__ bool keeps(int i, int j) const {
    const std::int64_t query = p_.query_positions[min(i, p_.s_q - 1)], key = p_.key_positions[min(j, p_.s_kv - 1)];
    const std::uint64_t stream = attention_dropout_stream(p_.samples[sample_], p_.head_offset + head_);
    return !is_dropped(dropped_keys(p_.dropout_key, stream, p_.threshold, query,
                                    static_cast<std::int64_t>(static_cast<std::uint64_t>(key) / kKeysOfBlock)),
                       static_cast<int>(key % kKeysOfBlock));
  }

  // keeps(i, j): i 0 or 8, of the thread's rows; j the column.
  template <class F>
  __device__ static std::uint32_t each(F keeps) {
    std::uint32_t bits = 0;
    for (int i = 0; i < 32; ++i) {
      const int n = i / 4, e = i % 4;
      bits |= (keeps(8 * (e / 2), 8 * n + 2 * (lane() % 4) + e % 2) ? 1u : 0u) << Kept::bit(n, e);
    }
    return bits;
  }

  __device__ std::int64_t line() const { return static_cast<std::int64_t>(sample_) * p_.heads + head_; }

  const FusedAttentionParams& p_;
  int sample_, head_;
};

}  // namespace ringtron::fused
