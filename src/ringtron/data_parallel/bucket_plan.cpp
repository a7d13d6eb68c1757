// Lays gradients out. See bucket_plan.h.
#include "ringtron/data_parallel/bucket_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

std::int64_t bucket_size(const BucketOptions& options) {
  if (!options.overlap) return std::numeric_limits<std::int64_t>::max();
  if (options.bucket_size > 0) return options.bucket_size;
  return std::max<std::int64_t>(40'000'000, std::int64_t{1'000'000} * options.group_size);
}

}  // namespace

BucketPlan plan_buckets(std::span<const std::int64_t> sizes, const BucketOptions& options) {
  RT_CHECK_GE(options.group_size, 1, "ranks that share gradients");
  const std::int64_t limit = bucket_size(options);
  const std::int64_t padding = std::lcm<std::int64_t>(options.group_size, 128);
  BucketPlan plan;
  plan.offsets.resize(sizes.size());
  plan.bucket_of.resize(sizes.size());
  Bucket open;
  std::int64_t end = 0;
  const auto close = [&] {
    end = round_up(end, padding);
    open.end = end;
    plan.buckets.push_back(open);
    open = Bucket();
    open.begin = end;
  };
  for (int i = static_cast<int>(sizes.size()) - 1; i >= 0; --i) {
    RT_CHECK_GE(sizes[i], 0, "elements of a parameter");
    end = round_up(end, BucketPlan::kAlignment);
    plan.offsets[i] = end;
    plan.bucket_of[i] = static_cast<int>(plan.buckets.size());
    open.parameters.push_back(i);
    end += sizes[i];
    if (end - open.begin >= limit) close();
  }
  if (!open.parameters.empty()) close();
  plan.elements = end;
  return plan;
}

}  // namespace ringtron
