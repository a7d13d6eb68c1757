// Properties of the layout of flat buffers, and of the ranks' shards of them, for many shapes.
#include "ringtron/parameter/bucket_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "ringtron/base/random.h"

namespace ringtron {
namespace {

void expect_sound(const std::vector<std::int64_t>& sizes, const BucketOptions& options) {
  const BucketPlan plan = plan_buckets(sizes, options);
  const std::int64_t multiple =
      std::lcm<std::int64_t>(options.group_size * (options.sharded ? BucketPlan::kAlignment : 1), 128);
  int next = static_cast<int>(sizes.size()) - 1;
  std::int64_t end = 0;
  for (std::size_t b = 0; b < plan.buckets.size(); ++b) {
    const Bucket& bucket = plan.buckets[b];
    EXPECT_EQ(bucket.begin, end);
    EXPECT_EQ(bucket.end % multiple, 0);
    if (options.sharded) {
      EXPECT_EQ((bucket.end - bucket.begin) / options.group_size % BucketPlan::kAlignment, 0);
    }
    EXPECT_FALSE(bucket.parameters.empty());
    std::int64_t free = bucket.begin;
    for (const int index : bucket.parameters) {
      EXPECT_EQ(index, next--);  // reverse order of registration, each once
      EXPECT_EQ(plan.bucket_of[index], static_cast<int>(b));
      EXPECT_EQ(plan.offsets[index] % BucketPlan::kAlignment, 0);
      EXPECT_GE(plan.offsets[index], free);
      EXPECT_LT(plan.offsets[index] - free, BucketPlan::kAlignment);
      free = plan.offsets[index] + sizes[index];
    }
    EXPECT_LE(free, bucket.end);
    EXPECT_LT(bucket.end - free, multiple);
    end = bucket.end;
  }
  EXPECT_EQ(next, -1);
  EXPECT_EQ(plan.elements, end);
}

TEST(BucketPlan, IsSoundForManyShapes) {
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int64_t> sizes(random_word(1, round, 0) % 20);
    for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = random_word(2, round, i) % 1000;
    for (const bool sharded : {false, true}) {
      expect_sound(
          sizes,
          {.overlap = round % 3 != 0, .bucket_size = 1 + round * 10, .group_size = 1 + round % 9, .sharded = sharded});
    }
  }
}

TEST(BucketPlan, ClosesAtTheSize) {
  const std::vector<std::int64_t> sizes = {64, 64, 64, 64, 64};
  const BucketPlan plan = plan_buckets(sizes, {.overlap = true, .bucket_size = 128, .group_size = 2});
  ASSERT_EQ(plan.buckets.size(), 3u);
  EXPECT_EQ(plan.buckets[0].parameters, (std::vector<int>{4, 3}));
  EXPECT_EQ(plan.buckets[2].parameters, (std::vector<int>{0}));
  EXPECT_EQ(plan.offsets, (std::vector<std::int64_t>{256, 192, 128, 64, 0}));
  EXPECT_EQ(plan.elements, 384);
}

// Its owners have the same elements of it, whatever lies around it.
TEST(BucketPlan, AParameterAlone) {
  const BucketOptions options{.overlap = false, .bucket_size = 0, .group_size = 4, .sharded = true};
  const std::vector<std::int64_t> first = {1000, 70, 300}, last = {500, 1000};
  const int at_0[] = {0}, at_1[] = {1};
  const BucketPlan one = plan_buckets(first, options, at_0), other = plan_buckets(last, options, at_1);
  EXPECT_EQ(one.buckets.size(), 2u);
  EXPECT_EQ(other.buckets.size(), 2u);
  const auto part_of = [](const BucketPlan& plan, const std::vector<std::int64_t>& sizes, int parameter, int rank) {
    for (const OwnedPart& part : owned_parts(plan, sizes, bucket_shards(plan, rank, 4)))
      if (part.parameter == parameter) return part.elements;
    return ElementRange{};
  };
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(part_of(one, first, 0, rank), part_of(other, last, 1, rank)) << rank;
    EXPECT_GT(part_of(one, first, 0, rank).size(), 0) << rank;
  }
  EXPECT_NE(part_of(plan_buckets(first, options), first, 0, 1), part_of(plan_buckets(last, options), last, 1, 1))
      << "negative control: in a bucket with others";
}

TEST(BucketPlan, DefaultsAndOverlapOff) {
  const std::vector<std::int64_t> sizes(10, 10'000'000);
  EXPECT_EQ(plan_buckets(sizes, {.overlap = true, .bucket_size = 0, .group_size = 1}).buckets.size(),
            3u);  // 40 M each
  EXPECT_EQ(plan_buckets(sizes, {.overlap = true, .bucket_size = 0, .group_size = 100}).buckets.size(),
            1u);  // 100 M
  EXPECT_EQ(plan_buckets(sizes, {.overlap = false, .bucket_size = 5, .group_size = 1}).buckets.size(), 1u);
  EXPECT_EQ(plan_buckets({}, {}).elements, 0);
}

// Each element of each parameter has one owner, and a place in that owner's buffer that nothing else has.
void expect_owned_once(const std::vector<std::int64_t>& sizes, const BucketPlan& plan, int ranks) {
  std::vector<std::int64_t> owned(sizes.size(), 0);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<ElementRange> shards = bucket_shards(plan, rank, ranks);
    std::vector<ElementRange> places;
    for (const OwnedPart& part : owned_parts(plan, sizes, shards)) {
      EXPECT_EQ(part.elements.begin, owned[part.parameter]) << "ranks own what follows what the rank before owns";
      owned[part.parameter] = part.elements.end;
      places.push_back({part.offset, part.offset + part.elements.size()});
    }
    std::sort(places.begin(), places.end(), [](ElementRange a, ElementRange b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < places.size(); ++i) EXPECT_GE(places[i].begin, places[i - 1].end);
    for (const ElementRange& place : places) EXPECT_LE(place.end, plan.elements / ranks);
  }
  EXPECT_EQ(owned, sizes);
}

TEST(BucketPlan, EveryElementHasOneOwner) {
  for (int trial = 0; trial < 100; ++trial) {
    std::uint64_t draw = 0;
    const auto below = [&](std::uint32_t limit) {
      return static_cast<std::int64_t>(random_word(11, trial, draw++) % limit);
    };
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(1 + below(12)));
    for (std::int64_t& size : sizes) size = 1 + below(3000);
    const int ranks = static_cast<int>(1 + below(8));
    const BucketOptions options{.overlap = trial % 2 == 0, .bucket_size = 1 + below(5000), .group_size = ranks};
    expect_owned_once(sizes, plan_buckets(sizes, options), ranks);
  }
}

TEST(BucketPlan, OneRankOwnsWholeParametersWhereTheyLie) {
  const std::vector<std::int64_t> sizes = {100, 7};
  const BucketPlan plan = plan_buckets(sizes, {});
  const std::vector<OwnedPart> parts = owned_parts(plan, sizes, bucket_shards(plan, 0, 1));
  EXPECT_EQ(parts, (std::vector<OwnedPart>{{0, {0, 100}, plan.offsets[0]}, {1, {0, 7}, plan.offsets[1]}}));
}

}  // namespace
}  // namespace ringtron
