// Which global positions of a sequence each context-parallel rank owns.
//
// The sequence is cut into chunks, numbered in sequence order; a rank stores its chunks one after the other. Every
// activation outside attention is sharded this way, and a rank's token i is position positions(rank)[i] of the whole.
// A layout is a value: made once, the same on all ranks, never changed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ringtron {

// Positions begin, begin + 1, ..., end - 1 of the whole sequence.
struct PositionRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t length() const { return end - begin; }
  bool operator==(const PositionRange&) const = default;
};

struct Chunk {
  int number = 0;  // over the whole sequence, in sequence order
  PositionRange positions;
  bool operator==(const Chunk&) const = default;
};

// Chunks `first` .. `first + count - 1` of those that one rank stores, in storage order.
struct ChunkSpan {
  int first = 0;
  int count = 0;
  bool operator==(const ChunkSpan&) const = default;
};

class SequenceLayout {
 public:
  // `chunks_of_rank[r]`: what rank r stores, in storage order. The chunks must be 0, 1, ... of one unbroken sequence
  // that begins at 0, each held once; all ranks hold the same number of positions (one hop has one size).
  SequenceLayout(std::string name, std::vector<std::vector<Chunk>> chunks_of_rank);

  const std::string& name() const { return name_; }
  int ranks() const { return static_cast<int>(chunks_of_rank_.size()); }
  int chunk_count() const { return chunk_count_; }
  std::int64_t sequence_length() const { return sequence_length_; }
  std::int64_t local_length() const { return sequence_length_ / ranks(); }
  const std::vector<Chunk>& of(int rank) const { return chunks_of_rank_.at(static_cast<std::size_t>(rank)); }

  // Rows of rank's storage that a span covers, and the global positions of these rows.
  PositionRange rows(int rank, ChunkSpan span) const;
  std::vector<PositionRange> positions(int rank, ChunkSpan span) const;

 private:
  std::string name_;
  std::vector<std::vector<Chunk>> chunks_of_rank_;
  int chunk_count_ = 0;
  std::int64_t sequence_length_ = 0;
};

// Rank r of n holds chunks r and 2n-1-r of 2n equal ones: under a causal mask all ranks then have the same work at
// every step of the ring. One rank holds the whole sequence as one chunk. Megatron's layout.
// Throws ConfigError when the length is not a positive multiple of 2n (n > 1).
SequenceLayout zigzag_layout(std::int64_t sequence_length, int ranks);

// Rank r of n holds chunk r of n: balanced only without a causal mask.
// Throws ConfigError when the length is not a positive multiple of n.
SequenceLayout contiguous_layout(std::int64_t sequence_length, int ranks);

// The `count` positions that follow the first `skip` ones of `ranges`.
std::vector<PositionRange> slice_ranges(std::span<const PositionRange> ranges, std::int64_t skip, std::int64_t count);

}  // namespace ringtron
