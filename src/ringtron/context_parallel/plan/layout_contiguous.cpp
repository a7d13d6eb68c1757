// The contiguous layout: rank r of n holds part r of n.
#include "ringtron/choices/choices.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/context_parallel/plan/shard_lengths.h"

namespace ringtron {

SequenceLayout contiguous_layout(std::int64_t sequence_length, int ranks, std::int64_t multiple) {
  std::vector<std::vector<PositionRange>> ranges;
  std::int64_t position = 0;
  for (const std::int64_t length : shard_lengths(sequence_length, ranks, multiple)) {
    ranges.push_back({{position, position + length}});
    position += length;
  }
  return SequenceLayout(std::string(word_of(CpLayout::contiguous)), std::move(ranges));
}

}  // namespace ringtron
