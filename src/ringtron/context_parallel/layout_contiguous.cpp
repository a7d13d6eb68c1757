// The contiguous layout: rank r of n holds the r-th part.
#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/context_parallel/sequence_layout.h"

namespace ringtron {

SequenceLayout contiguous_layout(std::int64_t sequence_length, int ranks) {
  RT_CHECK_GE(ranks, 1, "context-parallel ranks");
  if (sequence_length <= 0 || sequence_length % ranks != 0) {
    const std::int64_t padded = (std::max<std::int64_t>(sequence_length, 1) + ranks - 1) / ranks * ranks;
    throw ConfigError(fmt::format(
        "context_parallel: expected a positive sequence length that is a multiple of context-parallel-size {}, got {}. "
        "Pad to {}, or change --context-parallel-size.",
        ranks, sequence_length, padded));
  }
  const std::int64_t size = sequence_length / ranks;
  std::vector<std::vector<Chunk>> chunks_of_rank;
  for (int rank = 0; rank < ranks; ++rank) {
    chunks_of_rank.push_back({Chunk{rank, {rank * size, (rank + 1) * size}}});
  }
  return SequenceLayout("contiguous", std::move(chunks_of_rank));
}

}  // namespace ringtron
