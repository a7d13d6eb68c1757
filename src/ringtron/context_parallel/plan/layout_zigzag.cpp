// The zigzag layout: rank r of n holds chunks r and 2n-1-r.
#include "ringtron/choices/choices.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/context_parallel/plan/shard_lengths.h"

namespace ringtron {

SequenceLayout zigzag_layout(std::int64_t sequence_length, int ranks, std::int64_t multiple) {
  const std::vector<std::int64_t> lengths = shard_lengths(sequence_length, ranks, multiple);
  std::vector<std::vector<PositionRange>> ranges(lengths.size());
  std::int64_t position = 0;
  const auto take = [&](std::size_t rank, std::int64_t length) {
    ranges[rank].push_back({position, position + length});
    position += length;
  };
  for (std::size_t rank = 0; rank < lengths.size(); ++rank) take(rank, lengths[rank] / 2);
  for (std::size_t rank = lengths.size(); rank-- > 0;) take(rank, lengths[rank] - lengths[rank] / 2);
  return SequenceLayout(std::string(word_of(CpLayout::zigzag)), std::move(ranges));
}

}  // namespace ringtron
