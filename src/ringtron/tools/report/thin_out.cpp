#include "ringtron/tools/report/thin_out.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace ringtron {

std::vector<std::size_t> thin_out(std::span<const double> values, std::size_t buckets) {
  const std::size_t count = values.size();
  std::vector<std::size_t> kept;
  if (count <= 3 * buckets) {
    kept.resize(count);
    std::iota(kept.begin(), kept.end(), std::size_t{0});
    return kept;
  }
  kept.push_back(0);
  for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
    const std::size_t begin = bucket * count / buckets, end = (bucket + 1) * count / buckets;
    std::size_t least = count, greatest = count, gap = count;
    for (std::size_t i = begin; i < end; ++i) {
      if (std::isnan(values[i])) {
        gap = i;
        continue;
      }
      if (least == count || values[i] < values[least]) least = i;
      if (greatest == count || values[i] > values[greatest]) greatest = i;
    }
    for (const std::size_t i : {least, greatest, gap}) {
      if (i < count) kept.push_back(i);
    }
  }
  kept.push_back(count - 1);
  std::ranges::sort(kept);
  const auto repeated = std::ranges::unique(kept);
  kept.erase(repeated.begin(), repeated.end());
  return kept;
}

std::vector<double> moving_mean(std::span<const double> values, std::size_t reach) {
  const std::size_t count = values.size();
  std::vector<double> sums(count + 1), counted(count + 1);
  for (std::size_t i = 0; i < count; ++i) {
    const bool counts = !std::isnan(values[i]);
    sums[i + 1] = sums[i] + (counts ? values[i] : 0.0);
    counted[i + 1] = counted[i] + (counts ? 1.0 : 0.0);
  }
  std::vector<double> means(count, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t own = std::min({reach, i, count - 1 - i}), begin = i - own, end = i + own + 1;
    if (!std::isnan(values[i])) means[i] = (sums[end] - sums[begin]) / (counted[end] - counted[begin]);
  }
  return means;
}

}  // namespace ringtron
