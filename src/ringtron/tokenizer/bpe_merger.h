// Merges the bytes of one word into tokens: while some adjacent pair has a rank, the pair of the lowest rank
// (the leftmost of equals) becomes one token.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ringtron/tokenizer/gpt2_vocab_files.h"

namespace ringtron {

// Immutable after construction, so any number of threads may share it. Keeps no reference to the model.
class BpeMerger {
 public:
  explicit BpeMerger(const BpeModel& model);
  // `ranks[i]`: of merges[i], 0 or more; merges of one rank have one result. Of a pair that comes twice the last
  // counts.
  BpeMerger(std::span<const BpeMerge> merges, std::span<const std::int32_t> ranks);

  // Appends the ids of `word`. Time grows with length x log(length), so a word of megabytes is fine. Requires: made
  // from a model.
  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const;

  // Appends what the tokens `start` become.
  void append_merged(std::span<const std::int32_t> start, std::vector<std::int32_t>& ids) const;

 private:
  static constexpr std::size_t kShortWord = 64;  // up to here scanning all ranks is faster than a heap
  struct Slot {
    std::uint64_t pair;  // kEmptyPair if free
    std::int32_t rank;
  };

  std::int32_t rank(std::int32_t left, std::int32_t right) const;  // kNoRank if the pair does not merge
  std::size_t first_slot(std::uint64_t pair) const;
  void append_short(std::array<std::int32_t, kShortWord>& token, std::size_t n, std::vector<std::int32_t>& ids) const;
  void append_long(std::span<const std::int32_t> start, std::vector<std::int32_t>& ids) const;

  std::vector<std::int32_t> id_of_byte_;
  std::vector<std::int32_t> result_of_rank_;
  std::vector<Slot> slots_;  // open addressing, at most half full
  int shift_ = 0;            // 64 - log2(slots)
};

}  // namespace ringtron
