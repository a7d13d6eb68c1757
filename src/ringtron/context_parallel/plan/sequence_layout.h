// Which global positions of a sequence each context-parallel rank owns.
//
// Every activation outside attention is sharded this way; row i of a rank is its i-th position in ascending
// order. A layout is a value: made once, the same on all ranks, never changed. Any length works, also one that
// is shorter than the number of ranks: a shard may be empty.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ringtron {

// Positions begin, begin + 1, ..., end - 1 of the whole sequence; or rows of a tensor, where a name says so.
struct PositionRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t length() const { return end - begin; }
  bool empty() const { return end <= begin; }
  bool operator==(const PositionRange&) const = default;
};

// What both ranges hold; empty (not negative) where they do not meet.
PositionRange intersection(const PositionRange& a, const PositionRange& b);

// How many positions ranges hold together.
std::int64_t total_length(std::span<const PositionRange> ranges);

// One of several ranges whose rows lie one below another, and where its rows begin.
struct StoredRange {
  PositionRange positions;
  std::int64_t first_row = 0;
  PositionRange rows() const { return {first_row, first_row + positions.length()}; }
  // Rows of positions that lie within.
  PositionRange rows_of(const PositionRange& some) const {
    return {first_row + some.begin - positions.begin, first_row + some.end - positions.begin};
  }
};
std::vector<StoredRange> stored_ranges(std::span<const PositionRange> ranges);

// Each of them by itself: {0-1, 5-6} gives 0, 1, 5, 6. And the inverse, for positions in any order.
std::vector<std::int64_t> positions_in(std::span<const PositionRange> ranges);
std::vector<PositionRange> ranges_of(std::span<const std::int64_t> positions);

// Puts a range behind the others: where it touches the last one, that grows.
void append_range(std::vector<PositionRange>& ranges, const PositionRange& next);

// The `count` positions that follow the first `skip` ones of `ranges`.
std::vector<PositionRange> slice_ranges(std::span<const PositionRange> ranges, std::int64_t skip, std::int64_t count);

class SequenceLayout {
 public:
  // `ranges_of_rank[r]`: what rank r owns. Empty ranges are dropped and neighbours that touch are joined. Throws
  // InternalError unless each rank's ranges ascend and all together hold 0 .. length-1, each position once.
  SequenceLayout(std::string name, std::vector<std::vector<PositionRange>> ranges_of_rank);

  const std::string& name() const { return name_; }
  int ranks() const { return static_cast<int>(ranges_of_rank_.size()); }
  std::int64_t sequence_length() const { return sequence_length_; }
  std::int64_t local_length(int rank) const;

  // Rank's positions, ascending; neighbours do not touch.
  const std::vector<PositionRange>& of(int rank) const { return ranges_of_rank_.at(static_cast<std::size_t>(rank)); }

  // The layout in which ranks 0..size-1 are one rank, the next `size` another, and so on: what remains of the
  // sequence's division when these ranks have divided heads instead. ranks() must be a multiple of size.
  SequenceLayout merged(int size) const;

  // Whether each rank has so few ranges (up to 8) that each of them is worth a message of its own, which arrives where
  // it belongs; otherwise a block travels whole and is put in place afterwards.
  bool few_ranges() const;

  bool operator==(const SequenceLayout& other) const { return ranges_of_rank_ == other.ranges_of_rank_; }

 private:
  std::string name_;
  std::vector<std::vector<PositionRange>> ranges_of_rank_;
  std::int64_t sequence_length_ = 0;
};

// The layouts. `multiple`: every shard is a multiple of it (sequence parallelism cuts a shard once more); the
// length must be one too. Shards differ by at most `multiple` positions. Throw ConfigError for a bad length.

// Rank r of n holds chunks r and 2n-1-r of 2n nearly equal ones: under a causal mask all ranks have the same work
// at every step of the ring. Megatron's layout where 2n divides the length.
SequenceLayout zigzag_layout(std::int64_t sequence_length, int ranks, std::int64_t multiple = 1);

// Rank r of n holds part r of n: balanced without a causal mask or with a short window.
SequenceLayout contiguous_layout(std::int64_t sequence_length, int ranks, std::int64_t multiple = 1);

}  // namespace ringtron
