#include "ringtron/data/blended_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/data/dataset_split.h"

namespace ringtron {

BlendIndex build_blend_index(std::span<const double> weights, std::int64_t size) {
  RT_CHECK(!weights.empty() && weights.size() <= std::numeric_limits<std::int16_t>::max(), "a blend of {} datasets",
           weights.size());
  BlendIndex index;
  index.dataset.reserve(static_cast<std::size_t>(size));
  index.sample.reserve(static_cast<std::size_t>(size));
  std::vector<std::int64_t> taken(weights.size(), 0);
  for (std::int64_t n = 0; n < size; ++n) {
    const double step = static_cast<double>(std::max<std::int64_t>(n, 1));
    std::size_t best = 0;
    double largest = weights[0] * step - static_cast<double>(taken[0]);
    for (std::size_t i = 1; i < weights.size(); ++i) {
      const double lag = weights[i] * step - static_cast<double>(taken[i]);
      if (lag > largest) {
        largest = lag;
        best = i;
      }
    }
    index.dataset.push_back(static_cast<std::int16_t>(best));
    index.sample.push_back(taken[best]++);
  }
  return index;
}

BlendedDataset::BlendedDataset(std::vector<std::unique_ptr<Dataset>> datasets, std::vector<double> weights,
                               std::int64_t size)
    : datasets_(std::move(datasets)) {
  RT_CHECK(!datasets_.empty(), "a blend of no datasets");
  RT_CHECK_EQ(datasets_.size(), weights.size(), "weights of a blend");
  weights = normalized(std::move(weights));
  index_ = build_blend_index(weights, size);
  std::vector<std::int64_t> taken(datasets_.size(), 0);
  for (const std::int16_t dataset : index_.dataset) ++taken[static_cast<std::size_t>(dataset)];
  for (std::size_t i = 0; i < datasets_.size(); ++i) {
    RT_CHECK_EQ(datasets_[i]->sequence_length(), datasets_[0]->sequence_length(), "sequence lengths in a blend");
    if (taken[i] > datasets_[i]->size()) {
      throw ConfigError(
          fmt::format("data: the blend takes {} samples of {} (corpus {} of {}), which gives {}. Lower its "
                      "weight ({:.4g} of 1) or the number of samples",
                      taken[i], datasets_[i]->size() > 0 ? datasets_[i]->locate(0, 0).prefix : "a corpus", i + 1,
                      datasets_.size(), datasets_[i]->size(), weights[i]));
    }
  }
}

void BlendedDataset::read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const {
  RT_CHECK(sample >= 0 && sample < size(), "sample {} of {}", sample, size());
  const auto n = static_cast<std::size_t>(sample);
  datasets_[static_cast<std::size_t>(index_.dataset[n])]->read(index_.sample[n], first, count, out);
}

TokenPlace BlendedDataset::locate(std::int64_t sample, std::int64_t position) const {
  const auto n = static_cast<std::size_t>(sample);
  return datasets_[static_cast<std::size_t>(index_.dataset[n])]->locate(index_.sample[n], position);
}

}  // namespace ringtron
