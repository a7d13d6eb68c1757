// Which samples a data-parallel rank takes. The order is a pure function of (seed, global sample number);
// global sample numbers count all samples that training has consumed, so the set of a global batch does not
// depend on the layout.
#pragma once

#include <cstdint>
#include <vector>

namespace ringtron {

enum class SampleOrder {
  single,    // the dataset's own order, once; Megatron's default
  repeated,  // the dataset's own order, from the start again when it ends: validation and test
  cyclic,    // again and again, each pass in another random order (ours, not torch.randperm's)
  whole,     // the dataset's own order, each sample once; what is read past its end counts() not: --full-validation
};

struct Sampler {
  SampleOrder order = SampleOrder::single;
  std::int64_t dataset_size = 0;
  std::int64_t micro_batch_size = 1;
  std::int64_t data_parallel_size = 1;
  std::int64_t data_parallel_rank = 0;
  std::uint64_t seed = 0;

  // Global numbers of micro-batch `micro_batch`, counted from the point where `consumed_samples` had been
  // consumed: slice data_parallel_rank of the next micro_batch_size * data_parallel_size numbers.
  std::vector<std::int64_t> global_numbers(std::int64_t consumed_samples, std::int64_t micro_batch) const;

  // Dataset sample at a global number. Throws ConfigError for an empty dataset, and past the end of the data in
  // `single` order.
  std::int64_t dataset_sample(std::int64_t global_number) const;

  // False for a sample that only fills a batch: its loss is masked.
  bool counts(std::int64_t global_number) const { return order != SampleOrder::whole || global_number < dataset_size; }
};

// Element `index` of a random order of [0, size), computed without building it.
std::int64_t permuted(std::int64_t index, std::int64_t size, std::uint64_t key);

}  // namespace ringtron
