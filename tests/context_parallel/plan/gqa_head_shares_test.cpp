#include "ringtron/context_parallel/plan/gqa_head_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::int64_t> query_heads(const std::vector<HeadShare>& shares) {
  std::vector<std::int64_t> lengths;
  for (const HeadShare& share : shares) lengths.push_back(share.q.length());
  return lengths;
}

TEST(HeadShares, EqualWhereHeadsDivide) {
  const std::vector<HeadShare> shares = share_heads(8, 4, 4);
  EXPECT_THAT(shares, ElementsAre(HeadShare{{0, 2}, {0, 1}}, HeadShare{{2, 4}, {1, 2}}, HeadShare{{4, 6}, {2, 3}},
                                  HeadShare{{6, 8}, {3, 4}}));
  EXPECT_FALSE(heads_are_replicated(shares));
}

TEST(HeadShares, EveryHeadOnceForAnyCounts) {
  for (std::int64_t groups = 1; groups <= 8; ++groups) {
    for (std::int64_t per_group = 1; per_group <= 6; ++per_group) {
      for (int ranks = 1; ranks <= 16; ++ranks) {
        const std::int64_t heads = groups * per_group;
        const std::vector<HeadShare> shares = share_heads(heads, groups, ranks);
        ASSERT_EQ(shares.size(), static_cast<std::size_t>(ranks));
        const std::vector<std::int64_t> lengths = query_heads(shares);
        const auto [least, most] = std::minmax_element(lengths.begin(), lengths.end());
        ASSERT_LE(*most - *least, 1);
        std::int64_t next = 0;
        std::vector<int> users(static_cast<std::size_t>(groups), 0);
        for (const HeadShare& share : shares) {
          ASSERT_EQ(share.q.begin, next) << "consecutive";
          next = share.q.end;
          // No key/value head without a query head that uses it.
          if (share.q.empty()) {
            ASSERT_TRUE(share.kv.empty());
          } else {
            ASSERT_EQ(share.kv, (PositionRange{share.q.begin / per_group, (share.q.end - 1) / per_group + 1}));
          }
          for (std::int64_t kv = share.kv.begin; kv < share.kv.end; ++kv) ++users[static_cast<std::size_t>(kv)];
        }
        ASSERT_EQ(next, heads);
        ASSERT_EQ(heads_are_replicated(shares), *std::max_element(users.begin(), users.end()) > 1)
            << heads << "/" << groups << " on " << ranks;
      }
    }
  }
}

TEST(HeadShares, SevenHeadsOnFourRanks) {
  std::vector<std::int64_t> lengths = query_heads(share_heads(7, 7, 4));
  std::sort(lengths.begin(), lengths.end());
  EXPECT_THAT(lengths, ElementsAre(1, 2, 2, 2));
  EXPECT_FALSE(heads_are_replicated(share_heads(7, 7, 4)));
  EXPECT_TRUE(heads_are_replicated(share_heads(7, 1, 4)));
}

TEST(HeadShares, EightQueryAndTwoKeyHeadsOnEightRanks) {
  const std::vector<HeadShare> shares = share_heads(8, 2, 8);
  for (int rank = 0; rank < 8; ++rank) {
    EXPECT_EQ(shares[rank], (HeadShare{{rank, rank + 1}, {rank / 4, rank / 4 + 1}}));
    EXPECT_THAT(key_head_of_query_head(shares[rank], 4), ElementsAre(0));
    EXPECT_TRUE(is_regular(shares[rank], 4));
  }
  EXPECT_TRUE(heads_are_replicated(shares));
}

TEST(HeadShares, AShareMayBeEmpty) {
  const std::vector<HeadShare> shares = share_heads(2, 1, 4);
  int empty = 0;
  for (const HeadShare& share : shares) {
    if (!share.q.empty()) continue;
    ++empty;
    EXPECT_TRUE(share.kv.empty());
    EXPECT_TRUE(is_regular(share, 2));
    EXPECT_THAT(key_head_of_query_head(share, 2), IsEmpty());
  }
  EXPECT_EQ(empty, 2);
}

// Heads that an exchange moves for each row, counted in heads of one row: q in, out back, and K and V for
// each rank that uses them. A lower bound for any division of n query heads in g groups in which no rank has
// more than m = ceil(n / A): each query head moves in and back once, 2 n; a group of n / g heads needs at
// least ceil((n / g) / m) ranks, and every rank with a query head needs a key/value head, so at least max(g
// ceil((n / g) / m), min(A, n)) copies of K and of V.
TEST(HeadShares, MoveHardlyMoreHeadsThanAnyDivisionMust) {
  struct Case {
    std::int64_t heads, groups;
    int ranks;
  };
  for (const auto& [heads, groups, ranks] :
       {Case{40, 8, 16}, {7, 7, 4}, {8, 2, 8}, {32, 8, 4}, {32, 8, 16}, {64, 8, 6}}) {
    std::int64_t moved = 2 * heads;
    for (const HeadShare& share : share_heads(heads, groups, ranks)) moved += 2 * share.kv.length();
    const std::int64_t most = (heads + ranks - 1) / ranks, per_group = heads / groups;
    const std::int64_t copies =
        std::max(groups * ((per_group + most - 1) / most), std::min<std::int64_t>(ranks, heads));
    const double bound = static_cast<double>(2 * heads + 2 * copies);
    EXPECT_LE(static_cast<double>(moved), 1.1 * bound) << heads << "/" << groups << " on " << ranks;
    EXPECT_GE(static_cast<double>(moved), bound) << "the bound is wrong: " << heads << "/" << groups << " on " << ranks;
  }
}

TEST(HeadShares, RegularIsTheSameNumberOfQueryHeadsForEachKeyHead) {
  EXPECT_TRUE(is_regular({{0, 4}, {0, 2}}, 2));
  EXPECT_TRUE(is_regular({{2, 4}, {0, 1}}, 5));
  EXPECT_TRUE(is_regular({{1, 3}, {0, 2}}, 2)) << "one of each";
  EXPECT_FALSE(is_regular({{3, 6}, {0, 2}}, 5)) << "two and one";
  EXPECT_FALSE(is_regular({{1, 5}, {0, 3}}, 2)) << "one, two and one";
  EXPECT_FALSE(is_regular({{1, 5}, {0, 2}}, 4)) << "three and one";
  EXPECT_THAT(key_head_of_query_head({{3, 6}, {0, 2}}, 5), ElementsAre(0, 0, 1));
  EXPECT_THAT(key_head_of_query_head({{5, 9}, {2, 5}}, 2), ElementsAre(0, 1, 1, 2));
}

TEST(HeadShares, RefuseCountsThatAreNoHeads) {
  EXPECT_THROW(share_heads(7, 2, 2), InternalError);
  EXPECT_THROW(share_heads(0, 1, 2), InternalError);
  EXPECT_THROW(share_heads(4, 2, 0), InternalError);
}

}  // namespace
}  // namespace ringtron
