// Several datasets as one, mixed in given proportions: at each step the one that lags furthest behind its
// share gives its next sample (Megatron's order). Holds 10 bytes of memory per sample.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ringtron/data/dataset.h"

namespace ringtron {

// Row n: which dataset, and which of its samples.
struct BlendIndex {
  std::vector<std::int16_t> dataset;
  std::vector<std::int64_t> sample;
};

// `weights` add up to 1; the first of equals wins.
BlendIndex build_blend_index(std::span<const double> weights, std::int64_t size);

class BlendedDataset : public Dataset {
 public:
  // Takes the datasets, all of one sequence length. Weights need not add up to 1. Throws ConfigError if a
  // dataset has fewer samples than the blend takes of it (see wanted_of_corpus()).
  BlendedDataset(std::vector<std::unique_ptr<Dataset>> datasets, std::vector<double> weights, std::int64_t size);

  std::int64_t size() const override { return static_cast<std::int64_t>(index_.dataset.size()); }
  std::int64_t sequence_length() const override { return datasets_.front()->sequence_length(); }
  void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const override;
  TokenPlace locate(std::int64_t sample, std::int64_t position) const override;
  const BlendIndex& index() const { return index_; }

 private:
  std::vector<std::unique_ptr<Dataset>> datasets_;
  BlendIndex index_;
};

}  // namespace ringtron
