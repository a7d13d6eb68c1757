// Slices and element numbers of sharded tensors, against small cases written by hand and against each other.
#include "ringtron/grid/shard_spec.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <set>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

std::int64_t count(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

TEST(ShardSpec, GatedRowsTakeTheirPieceOfEachPart) {
  const ShardSpec fc1 = {.global_shape = {8, 3}, .dim = 0, .parts = {4, 4}};
  EXPECT_EQ(fc1.local_shape(2), (std::vector<std::int64_t>{4, 3}));
  EXPECT_EQ(fc1.slices(1, 2), (std::vector<ShardSlice>{{2, 0, 2}, {6, 2, 2}}));
  EXPECT_EQ(fc1.element_runs(1, 2), (std::vector<ShardSlice>{{6, 0, 6}, {18, 6, 6}}));
  EXPECT_EQ(fc1.global_element(6, 1, 2), 18);
  EXPECT_EQ(fc1.element_runs(0, 1), (std::vector<ShardSlice>{{0, 0, 24}}));
}

TEST(ShardSpec, ColumnsAreCutInEveryRow) {
  const ShardSpec fc2 = {.global_shape = {2, 4}, .dim = 1};
  EXPECT_EQ(fc2.local_shape(2), (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(fc2.element_runs(1, 2), (std::vector<ShardSlice>{{2, 0, 2}, {6, 2, 2}}));
}

TEST(ShardSpec, ReplicatedAndScalar) {
  const ShardSpec norm = {.global_shape = {5}};
  EXPECT_EQ(norm.local_shape(4), (std::vector<std::int64_t>{5}));
  EXPECT_EQ(norm.slices(3, 4), (std::vector<ShardSlice>{{0, 0, 5}}));
  EXPECT_EQ(norm.element_runs(3, 4), (std::vector<ShardSlice>{{0, 0, 5}}));
  EXPECT_EQ(norm.global_element(4, 3, 4), 4);
  EXPECT_EQ(ShardSpec{}.element_runs(0, 2), (std::vector<ShardSlice>{{0, 0, 1}}));
}

TEST(ShardSpec, RanksCoverEveryElementOnce) {
  const std::vector<ShardSpec> specs = {{.global_shape = {12, 5}, .dim = 0, .parts = {4, 8}},
                                        {.global_shape = {3, 12, 2}, .dim = 1, .parts = {4, 4, 4}},
                                        {.global_shape = {3, 8}, .dim = 1}};
  for (const ShardSpec& spec : specs) {
    for (const int tp_size : {1, 2, 4}) {
      std::set<std::int64_t> seen;
      for (int rank = 0; rank < tp_size; ++rank) {
        std::int64_t next = 0;
        for (const ShardSlice& run : spec.element_runs(rank, tp_size)) {
          EXPECT_EQ(run.local_offset, next);
          for (std::int64_t i = 0; i < run.length; ++i) {
            EXPECT_EQ(spec.global_element(run.local_offset + i, rank, tp_size), run.global_offset + i);
            EXPECT_TRUE(seen.insert(run.global_offset + i).second);
          }
          next += run.length;
        }
        EXPECT_EQ(next, count(spec.local_shape(tp_size)));
      }
      EXPECT_EQ(static_cast<std::int64_t>(seen.size()), count(spec.global_shape));
    }
  }
}

TEST(ShardSpec, RefusesWhatDoesNotFit) {
  const ShardSpec odd = {.global_shape = {6, 2}, .dim = 0, .parts = {3, 3}};
  EXPECT_THROW(odd.local_shape(2), ConfigError);
  EXPECT_THROW((ShardSpec{.global_shape = {6}, .dim = 0, .parts = {2, 2}}.local_shape(2)), InternalError);
  EXPECT_THROW((ShardSpec{.global_shape = {6}, .dim = 1}.local_shape(2)), InternalError);
  EXPECT_THROW((ShardSpec{.global_shape = {6}, .dim = 0}.slices(2, 2)), InternalError);
}

}  // namespace
}  // namespace ringtron
