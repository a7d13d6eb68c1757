// Which keys each query sees: causal, sliding windows, documents, and any mix of them.
//
// Every query position sees one interval of key positions, and both ends of the interval never decrease from one
// query to the next. So no s x s mask is ever needed: any block of queries against any block of keys is a few
// rectangles, each with at most two slanted edges (Band). A mask is a value; the same on all ranks.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

// Row i of a block of queries sees rows j of a block of keys with i - left <= j <= i + right. Either bound may be
// negative, or kUnbounded.
struct Band {
  static constexpr std::int64_t kUnbounded = std::numeric_limits<std::int64_t>::max() / 4;
  std::int64_t left = kUnbounded;
  std::int64_t right = kUnbounded;

  static constexpr Band all() { return {}; }
  static constexpr Band causal() { return {kUnbounded, 0}; }  // rows 0..i
  bool is_all() const { return left == kUnbounded && right == kUnbounded; }
  bool is_causal() const { return left == kUnbounded && right == 0; }
  // The rows of `keys` that row i sees, cut to [0, keys).
  PositionRange row(std::int64_t i, std::int64_t keys) const;
  // Cells that are seen in a block of queries x keys.
  std::int64_t area(std::int64_t queries, std::int64_t keys) const;
  bool operator==(const Band&) const = default;
};

// A rectangle of positions, of which each query sees at least one key and each key is seen.
struct MaskTile {
  PositionRange queries;
  PositionRange keys;
  Band band;  // over the rows of this tile; all() when every cell is seen
  bool operator==(const MaskTile&) const = default;
};

// How far a query sees within its document: keys q - left .. q + right; -1: no limit. A causal mask has right 0
// whatever stands here.
struct AttentionWindow {
  std::int64_t left = -1;
  std::int64_t right = -1;
  bool limited() const { return left >= 0 || right >= 0; }
  bool operator==(const AttentionWindow&) const = default;
};

class AttentionMask {
 public:
  // `document_starts`: where documents begin, strictly increasing, in [0, sequence_length); a document also begins
  // at 0, listed or not. Throws ConfigError otherwise, naming the first bad entry.
  AttentionMask(std::int64_t sequence_length, bool causal, AttentionWindow window = {},
                std::vector<std::int64_t> document_starts = {});

  std::int64_t sequence_length() const { return sequence_length_; }
  bool causal() const { return causal_; }
  // No window and one document: the classic causal or full mask.
  bool dense() const {
    return left_ == Band::kUnbounded && (causal_ || right_ == Band::kUnbounded) && starts_.size() <= 1;
  }
  const std::vector<std::int64_t>& document_starts() const { return starts_; }  // the first is 0
  PositionRange document(std::size_t index) const;                              // of as many

  // The keys that one query sees; never empty.
  PositionRange keys_of(std::int64_t query) const;
  // The block as tiles, by ascending queries; together they hold exactly the cells of the mask in the block.
  std::vector<MaskTile> tiles(const PositionRange& queries, const PositionRange& keys) const;
  // Cells of the mask in the block; all of it.
  std::int64_t area(const PositionRange& queries, const PositionRange& keys) const;
  std::int64_t area(const PositionRange& queries) const { return area(queries, {0, sequence_length_}); }
  std::int64_t area() const { return area({0, sequence_length_}); }

  bool operator==(const AttentionMask&) const = default;

 private:
  std::size_t document_index(std::int64_t position) const;

  std::int64_t sequence_length_;
  bool causal_;
  std::int64_t left_, right_;         // kUnbounded where there is no limit
  std::vector<std::int64_t> starts_;  // not empty unless the sequence is
};

}  // namespace ringtron
