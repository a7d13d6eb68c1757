// Many tiles of attention as the tables that a varlen cuDNN graph reads (ragged, in its words): lengths, and where rows
// begin. Integers only.
//
// A token is one row of one sample of a tensor [s, b, heads, d]; the rows of its samples take turns in memory.
#pragma once

#include <cstdint>
#include <vector>

namespace ringtron {

// Rows of q against rows of k and v, in one sample. Not empty.
struct SampleTile {
  std::int64_t sample = 0;
  std::int64_t first_q = 0, q_rows = 0;
  std::int64_t first_kv = 0, kv_rows = 0;
  bool operator==(const SampleTile&) const = default;
};

// Tiles of similar length, one call of a graph. A graph starts capacity * longest rows of work whatever the tiles are,
// so long and short tiles are kept apart; both bounds are powers of two, so that few graphs serve all packings. A small
// capacity matters where tiles are long: blocks of rows that find nothing to do still have to be started.
struct VarlenGroup {
  std::int64_t longest = 0;       // no tile has more rows of queries or keys
  std::int64_t capacity = 0;      // at least the number of tiles
  std::vector<SampleTile> tiles;  // by sample and first_q
};

// `tokens`: of the longer of q and k. The groups are those that start the least rows, if a call costs as much as so
// many rows for each token: its buffers have all of them.
std::vector<VarlenGroup> group_by_length(std::vector<SampleTile> tiles, std::int64_t tokens);

// Sizes of the tensors that tiles are rows of.
struct VarlenShape {
  std::int64_t s_q = 0, s_kv = 0, samples = 0;
  std::int64_t n = 0, g = 0, d = 0;
  bool operator==(const VarlenShape&) const = default;
};

// The tables of one group in one piece of memory, as 64-bit words: lengths of queries and of keys (int32, `capacity`
// each), then where the rows of q, of k and of the log-sum-exp begin, in elements (int64, capacity + 1 each). Each
// table begins at 16 bytes. Entries behind the last tile have no rows.
struct VarlenTables {
  static std::int64_t words(std::int64_t capacity) { return 2 * length_words(capacity) + 3 * offset_words(capacity); }
  static std::int64_t length_words(std::int64_t capacity) { return (capacity + 3) / 4 * 2; }
  static std::int64_t offset_words(std::int64_t capacity) { return (capacity + 2) / 2 * 2; }
  // In bytes from the start of the piece.
  static std::int64_t q_lengths() { return 0; }
  static std::int64_t kv_lengths(std::int64_t capacity) { return length_words(capacity) * 8; }
  static std::int64_t q_offsets(std::int64_t capacity) { return 2 * length_words(capacity) * 8; }
  static std::int64_t kv_offsets(std::int64_t capacity) { return q_offsets(capacity) + offset_words(capacity) * 8; }
  static std::int64_t lse_offsets(std::int64_t capacity) { return kv_offsets(capacity) + offset_words(capacity) * 8; }
};

// Fills VarlenTables::words(group.capacity) words. Fails where a tile does not lie in the tensors.
void fill_tables(const VarlenGroup& group, const VarlenShape& shape, std::int64_t* words);

}  // namespace ringtron
