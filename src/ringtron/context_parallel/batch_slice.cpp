#include "ringtron/context_parallel/batch_slice.h"

namespace ringtron {

std::vector<PositionRange> batch_slice(const SequenceLayout& layout, int rank) {
  std::vector<PositionRange> ranges;
  for (const Chunk& chunk : layout.of(rank)) {
    if (!ranges.empty() && ranges.back().end == chunk.positions.begin) {
      ranges.back().end = chunk.positions.end;
    } else {
      ranges.push_back(chunk.positions);
    }
  }
  return ranges;
}

std::vector<std::int64_t> local_positions(const SequenceLayout& layout, int rank) {
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(layout.local_length()));
  for (const PositionRange& range : batch_slice(layout, rank)) {
    for (std::int64_t p = range.begin; p < range.end; ++p) positions.push_back(p);
  }
  return positions;
}

}  // namespace ringtron
