#include "ringtron/data/blended_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron {

BlendIndex build_blend_index(std::span<const double> weights, std::int64_t size) {
  RT_CHECK(!weights.empty() && weights.size() <= std::numeric_limits<std::int16_t>::max(),
           "a blend of {} datasets", weights.size());
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
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  index_ = build_blend_index(weights, size);
  std::vector<std::int64_t> taken(datasets_.size(), 0);
  for (const std::int16_t dataset : index_.dataset) ++taken[static_cast<std::size_t>(dataset)];
  for (std::size_t i = 0; i < datasets_.size(); ++i) {
    RT_CHECK_EQ(datasets_[i]->sequence_length(), datasets_[0]->sequence_length(),
                "sequence lengths in a blend");
    if (taken[i] > datasets_[i]->size()) {
      throw ConfigError(
          fmt::format("--data-path: the blend takes {} samples of corpus {}, which has {}. Lower its "
                      "weight ({:.4f}) or the number of samples",
                      taken[i], i, datasets_[i]->size(), weights[i]));
    }
  }
}

void BlendedDataset::read(std::int64_t sample, std::int64_t first, std::int64_t count,
                          std::int32_t* out) const {
  RT_CHECK(sample >= 0 && sample < size(), "sample {} of {}", sample, size());
  const auto n = static_cast<std::size_t>(sample);
  datasets_[static_cast<std::size_t>(index_.dataset[n])]->read(index_.sample[n], first, count, out);
}

TokenPlace BlendedDataset::locate(std::int64_t sample, std::int64_t position) const {
  const auto n = static_cast<std::size_t>(sample);
  return datasets_[static_cast<std::size_t>(index_.dataset[n])]->locate(index_.sample[n], position);
}

}  // namespace ringtron
