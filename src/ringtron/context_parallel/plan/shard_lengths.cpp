#include "ringtron/context_parallel/plan/shard_lengths.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron {

std::vector<std::int64_t> shard_lengths(std::int64_t sequence_length, int ranks, std::int64_t multiple) {
  RT_CHECK(ranks >= 1 && multiple >= 1, "{} context-parallel ranks in multiples of {}", ranks, multiple);
  if (sequence_length < 0 || sequence_length % multiple != 0) {
    throw ConfigError(fmt::format(
        "context_parallel: expected a sequence length that is a multiple of {} (with sequence parallelism a shard is cut "
        "once more), got {}. Use {}, or leave out --sequence-parallel.",
        multiple, sequence_length, (sequence_length / multiple + 1) * multiple));
  }
  const std::int64_t units = sequence_length / multiple;
  std::vector<std::int64_t> lengths;
  for (int rank = 0; rank < ranks; ++rank) {
    lengths.push_back((units / ranks + (rank < units % ranks ? 1 : 0)) * multiple);
  }
  return lengths;
}

}  // namespace ringtron
