// The zigzag layout: rank r of n holds chunks r and 2n-1-r.
#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/context_parallel/sequence_layout.h"

namespace ringtron {

SequenceLayout zigzag_layout(std::int64_t sequence_length, int ranks) {
  RT_CHECK_GE(ranks, 1, "context-parallel ranks");
  const std::int64_t chunks = ranks == 1 ? 1 : 2 * ranks;
  if (sequence_length <= 0 || sequence_length % chunks != 0) {
    const std::int64_t padded = (std::max<std::int64_t>(sequence_length, 1) + chunks - 1) / chunks * chunks;
    throw ConfigError(fmt::format(
        "context_parallel: expected a positive sequence length that is a multiple of {} (2 chunks x "
        "context-parallel-size {}), got {}. Pad to {}, or change --context-parallel-size.",
        chunks, ranks, sequence_length, padded));
  }
  const std::int64_t size = sequence_length / chunks;
  const auto chunk = [size](int number) { return Chunk{number, {number * size, (number + 1) * size}}; };
  std::vector<std::vector<Chunk>> chunks_of_rank;
  for (int rank = 0; rank < ranks; ++rank) {
    if (ranks == 1) {
      chunks_of_rank.push_back({chunk(0)});
    } else {
      chunks_of_rank.push_back({chunk(rank), chunk(2 * ranks - 1 - rank)});
    }
  }
  return SequenceLayout("zigzag", std::move(chunks_of_rank));
}

}  // namespace ringtron
