// What a context-parallel rank reads of a batch: its own positions of each row.
//
// Tokens, labels, loss mask and position ids are all cut the same way; labels were shifted before, so no rank
// needs a neighbour's token. The loader asks for SequenceLayout::of(rank) first and reads nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

// The global position of each local row, [local_length].
std::vector<std::int64_t> local_positions(const SequenceLayout& layout, int rank);

// Cuts one whole row, [sequence_length] -> [local_length].
template <class T>
std::vector<T> slice_row(std::span<const T> row, const SequenceLayout& layout, int rank) {
  RT_CHECK_EQ(static_cast<std::int64_t>(row.size()), layout.sequence_length(), "length of the row to slice");
  std::vector<T> local;
  local.reserve(static_cast<std::size_t>(layout.local_length(rank)));
  for (const PositionRange& range : layout.of(rank)) {
    local.insert(local.end(), row.begin() + range.begin, row.begin() + range.end);
  }
  return local;
}

}  // namespace ringtron
