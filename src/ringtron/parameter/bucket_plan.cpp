// Lays flat buffers out. See bucket_plan.h.
#include "ringtron/parameter/bucket_plan.h"

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

BucketPlan plan_buckets(std::span<const std::int64_t> sizes, const BucketOptions& options, std::span<const int> alone) {
  RT_CHECK_GE(options.group_size, 1, "ranks that share gradients");
  const std::int64_t limit = bucket_size(options);
  const std::int64_t padding =
      std::lcm<std::int64_t>(options.group_size * (options.sharded ? BucketPlan::kAlignment : 1), 128);
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
    const bool is_alone = std::ranges::count(alone, i) > 0;
    if (is_alone && !open.parameters.empty()) close();
    end = round_up(end, BucketPlan::kAlignment);
    plan.offsets[i] = end;
    plan.bucket_of[i] = static_cast<int>(plan.buckets.size());
    open.parameters.push_back(i);
    end += sizes[i];
    if (is_alone || end - open.begin >= limit) close();
  }
  if (!open.parameters.empty()) close();
  plan.elements = end;
  return plan;
}

std::vector<ElementRange> bucket_shards(const BucketPlan& plan, int rank, int size) {
  RT_CHECK(size >= 1 && rank >= 0 && rank < size, "bucket shards: expected a rank of {}, got {}", size, rank);
  std::vector<ElementRange> shards;
  for (const Bucket& bucket : plan.buckets) {
    const std::int64_t length = (bucket.end - bucket.begin) / size;
    RT_CHECK_EQ(length * size, bucket.end - bucket.begin, "elements of a bucket that its ranks do not divide");
    shards.push_back({bucket.begin + rank * length, bucket.begin + (rank + 1) * length});
  }
  return shards;
}

std::vector<OwnedPart> owned_parts(const BucketPlan& plan, std::span<const std::int64_t> sizes,
                                   std::span<const ElementRange> shards) {
  RT_CHECK_EQ(sizes.size(), plan.offsets.size(), "parameters of the bucket plan");
  RT_CHECK_EQ(shards.size(), plan.buckets.size(), "buckets of the plan");
  std::vector<std::int64_t> before(shards.size(), 0);  // elements of the shards before each
  for (std::size_t i = 1; i < shards.size(); ++i) before[i] = before[i - 1] + shards[i - 1].size();
  std::vector<OwnedPart> parts;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto bucket = static_cast<std::size_t>(plan.bucket_of[i]);
    const std::int64_t first = plan.offsets[i];
    const ElementRange common = {std::max(shards[bucket].begin, first), std::min(shards[bucket].end, first + sizes[i])};
    if (common.size() < 0 || (common.size() == 0 && sizes[i] > 0)) continue;
    parts.push_back({static_cast<int>(i),
                     {common.begin - first, common.end - first},
                     before[bucket] + common.begin - shards[bucket].begin});
  }
  return parts;
}

}  // namespace ringtron
