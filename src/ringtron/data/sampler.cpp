#include "ringtron/data/sampler.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/random.h"

namespace ringtron {

std::int64_t permuted(std::int64_t index, std::int64_t size, std::uint64_t key) {
  // A Feistel network is a bijection of [0, 4^half); walking on while outside [0, size) makes it one of [0,
  // size).
  constexpr std::uint64_t kRounds = 6;
  int half = 1;
  while ((std::int64_t{1} << (2 * half)) < size) ++half;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  auto value = static_cast<std::uint64_t>(index);
  do {
    std::uint64_t left = value >> half, right = value & mask;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      const auto words = philox4x32(key, round, right);
      const std::uint64_t mixed = (static_cast<std::uint64_t>(words.v[0]) << 32 | words.v[1]) & mask;
      const std::uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    value = left << half | right;
  } while (value >= static_cast<std::uint64_t>(size));
  return static_cast<std::int64_t>(value);
}

std::vector<std::int64_t> Sampler::global_numbers(std::int64_t consumed_samples, std::int64_t micro_batch) const {
  RT_CHECK(data_parallel_rank >= 0 && data_parallel_rank < data_parallel_size, "data-parallel rank {} of {}",
           data_parallel_rank, data_parallel_size);
  const std::int64_t first =
      consumed_samples + (micro_batch * data_parallel_size + data_parallel_rank) * micro_batch_size;
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < micro_batch_size; ++i) numbers.push_back(first + i);
  return numbers;
}

std::int64_t Sampler::dataset_sample(std::int64_t global_number) const {
  RT_CHECK(global_number >= 0, "sample number {}", global_number);
  if ((order == SampleOrder::repeated || order == SampleOrder::whole) && dataset_size > 0) {
    return global_number % dataset_size;
  }
  if (order == SampleOrder::cyclic && dataset_size > 0) {
    const auto pass = static_cast<std::uint64_t>(global_number / dataset_size);
    const auto words = philox4x32(seed, pass, 0);
    const std::uint64_t key = static_cast<std::uint64_t>(words.v[0]) << 32 | words.v[1];
    return permuted(global_number % dataset_size, dataset_size, key);
  }
  if (global_number >= dataset_size) {
    throw ConfigError(
        fmt::format("data: sample {} is asked for, but the dataset has {}. Train fewer samples, give more "
                    "data, or use --dataloader-type cyclic",
                    global_number, dataset_size));
  }
  return global_number;
}

}  // namespace ringtron
