#include "ringtron/context_parallel/plan/batch_slice.h"

namespace ringtron {

std::vector<std::int64_t> local_positions(const SequenceLayout& layout, int rank) {
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(layout.local_length(rank)));
  for (const PositionRange& range : layout.of(rank)) {
    for (std::int64_t p = range.begin; p < range.end; ++p) positions.push_back(p);
  }
  return positions;
}

}  // namespace ringtron
