// How long each rank's shard is: shared by the layouts.
#pragma once

#include <cstdint>
#include <vector>

namespace ringtron {

// `ranks` lengths whose sum is sequence_length, multiples of `multiple`, that differ by at most one multiple; the
// longer ones come first. Throws ConfigError when the length is negative or no multiple of `multiple`.
std::vector<std::int64_t> shard_lengths(std::int64_t sequence_length, int ranks, std::int64_t multiple);

}  // namespace ringtron
