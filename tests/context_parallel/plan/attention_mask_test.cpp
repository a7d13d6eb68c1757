#include "ringtron/context_parallel/plan/attention_mask.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

using Random = std::mt19937_64;

std::int64_t pick(Random& random, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
}

PositionRange pick_range(Random& random, std::int64_t length) {
  const std::int64_t begin = pick(random, 0, length);
  return {begin, pick(random, begin, length)};
}

// A mask as its definition says it, cell by cell.
struct Definition {
  std::int64_t length;
  bool causal;
  AttentionWindow window;
  std::vector<std::int64_t> starts;

  bool sees(std::int64_t q, std::int64_t k) const {
    const auto document = [&](std::int64_t p) {
      return std::count_if(starts.begin(), starts.end(), [&](std::int64_t start) { return start > 0 && start <= p; });
    };
    if (document(q) != document(k)) return false;
    if (causal && k > q) return false;
    if (window.left >= 0 && k < q - window.left) return false;
    return causal || window.right < 0 || k <= q + window.right;
  }
  AttentionMask mask() const { return {length, causal, window, starts}; }
};

Definition pick_definition(Random& random) {
  Definition definition{pick(random, 1, 24), pick(random, 0, 1) == 1, {pick(random, -1, 6), pick(random, -1, 6)}, {}};
  // Sometimes every position is a document of its own.
  const std::int64_t one_in = pick(random, 1, 9);
  for (std::int64_t p = pick(random, 0, 1); p < definition.length; ++p) {
    if (one_in < 9 && pick(random, 1, one_in) == 1) definition.starts.push_back(p);
  }
  return definition;
}

class RandomMasks : public ::testing::TestWithParam<int> {
 protected:
  Random random_{static_cast<std::uint64_t>(GetParam())};
  Definition definition_ = pick_definition(random_);
  AttentionMask mask_ = definition_.mask();
};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomMasks, ::testing::Range(0, 400));

TEST_P(RandomMasks, KeysOfAreTheKeysSeen) {
  PositionRange previous{0, 0};
  for (std::int64_t q = 0; q < definition_.length; ++q) {
    const PositionRange keys = mask_.keys_of(q);
    for (std::int64_t k = 0; k < definition_.length; ++k) {
      ASSERT_EQ(definition_.sees(q, k), keys.begin <= k && k < keys.end) << q << " " << k;
    }
    ASSERT_FALSE(keys.empty());
    ASSERT_GE(keys.begin, previous.begin);
    ASSERT_GE(keys.end, previous.end);
    previous = keys;
  }
  EXPECT_THROW(mask_.keys_of(definition_.length), InternalError);
  EXPECT_THROW(mask_.keys_of(-1), InternalError);
}

TEST_P(RandomMasks, TilesAreExactlyTheCellsOfABlock) {
  for (int repeat = 0; repeat < 20; ++repeat) {
    const PositionRange queries = pick_range(random_, definition_.length),
                        keys = pick_range(random_, definition_.length);
    std::vector<std::vector<int>> cells(definition_.length, std::vector<int>(definition_.length, 0));
    std::int64_t area = 0, after = queries.begin;
    for (const MaskTile& tile : mask_.tiles(queries, keys)) {
      EXPECT_GE(tile.queries.begin, after);
      after = tile.queries.end;
      EXPECT_EQ(intersection(tile.queries, queries), tile.queries);
      EXPECT_EQ(intersection(tile.keys, keys), tile.keys);
      std::vector<bool> key_seen(static_cast<std::size_t>(tile.keys.length()), false);
      for (std::int64_t i = 0; i < tile.queries.length(); ++i) {
        const PositionRange row = tile.band.row(i, tile.keys.length());
        EXPECT_FALSE(row.empty()) << "a query of a tile sees nothing";
        for (std::int64_t j = row.begin; j < row.end; ++j) {
          ++cells[tile.queries.begin + i][tile.keys.begin + j];
          key_seen[j] = true;
          ++area;
        }
      }
      EXPECT_TRUE(std::all_of(key_seen.begin(), key_seen.end(), [](bool seen) { return seen; }));
      EXPECT_EQ(tile.band.is_all(), tile.band.area(tile.queries.length(), tile.keys.length()) ==
                                        tile.queries.length() * tile.keys.length());
    }
    for (std::int64_t q = 0; q < definition_.length; ++q) {
      for (std::int64_t k = 0; k < definition_.length; ++k) {
        const bool in_block = q >= queries.begin && q < queries.end && k >= keys.begin && k < keys.end;
        ASSERT_EQ(cells[q][k], in_block && definition_.sees(q, k) ? 1 : 0) << q << " " << k;
      }
    }
    EXPECT_EQ(mask_.area(queries, keys), area);
  }
}

TEST_P(RandomMasks, TheAreaOfAllIsTheSumOfItsRows) {
  std::int64_t area = 0;
  for (std::int64_t q = 0; q < definition_.length; ++q) {
    area += mask_.keys_of(q).length();
    EXPECT_EQ(mask_.area({q, q + 1}), mask_.keys_of(q).length());
  }
  EXPECT_EQ(mask_.area(), area);
}

TEST(Band, RowsAndAreaAreTheDefinition) {
  Random random(1);
  for (int repeat = 0; repeat < 3000; ++repeat) {
    Band band{pick(random, -9, 9), 0};
    band.right = pick(random, -band.left, 12);  // a row of an endless block sees at least one
    if (pick(random, 1, 4) == 1) band.left = Band::kUnbounded;
    if (pick(random, 1, 4) == 1) band.right = Band::kUnbounded;
    const std::int64_t queries = pick(random, 0, 9), keys = pick(random, 0, 9);
    std::int64_t area = 0;
    for (std::int64_t i = 0; i < queries; ++i) {
      const PositionRange row = band.row(i, keys);
      ASSERT_LE(row.begin, row.end);
      for (std::int64_t j = 0; j < keys; ++j) {
        const bool sees = (band.left == Band::kUnbounded || j >= i - band.left) &&
                          (band.right == Band::kUnbounded || j <= i + band.right);
        ASSERT_EQ(sees, row.begin <= j && j < row.end);
        area += sees;
      }
    }
    ASSERT_EQ(band.area(queries, keys), area) << band.left << " " << band.right << " on " << queries << " x " << keys;
  }
}

// No square of a long sequence is ever made.
TEST(AttentionMask, LongSequencesTakeClosedForms) {
  const std::int64_t s = std::int64_t{1} << 20;
  EXPECT_EQ(AttentionMask(s, true).area(), s * (s + 1) / 2);
  EXPECT_EQ(AttentionMask(s, false).area(), s * s);
  EXPECT_EQ(AttentionMask(s, true, {4095, -1}).area(), s * 4096 - 4095 * 4096 / 2);
  EXPECT_THAT(AttentionMask(s, true).tiles({0, s}, {0, s}), ElementsAre(MaskTile{{0, s}, {0, s}, Band::causal()}));
}

TEST(AttentionMask, DenseIsWithoutWindowAndDocuments) {
  EXPECT_TRUE(AttentionMask(8, true).dense());
  EXPECT_TRUE(AttentionMask(8, false).dense());
  EXPECT_TRUE(AttentionMask(8, true, {-1, 3}).dense()) << "a causal mask has right 0 whatever stands there";
  EXPECT_TRUE(AttentionMask(8, true, {}, {0}).dense());
  EXPECT_FALSE(AttentionMask(8, true, {3, -1}).dense());
  EXPECT_FALSE(AttentionMask(8, false, {-1, 3}).dense());
  EXPECT_FALSE(AttentionMask(8, true, {}, {3}).dense());
}

TEST(AttentionMask, ADocumentBeginsAtZeroListedOrNot) {
  EXPECT_EQ(AttentionMask(8, true, {}, {3, 4}), AttentionMask(8, true, {}, {0, 3, 4}));
  EXPECT_THAT(AttentionMask(8, true, {}, {3, 4}).document_starts(), ElementsAre(0, 3, 4));
  EXPECT_EQ(AttentionMask(8, true, {}, {3, 4}).keys_of(3), (PositionRange{3, 4}));
}

TEST(AttentionMask, OfNoPositionsIsEmpty) {
  const AttentionMask mask(0, true);
  EXPECT_EQ(mask.area(), 0);
  EXPECT_THAT(mask.tiles({0, 0}, {0, 0}), IsEmpty());
}

TEST(AttentionMask, BadBoundariesAreNamed) {
  const auto mask = [](std::vector<std::int64_t> starts) { return [=] { AttentionMask(8, true, {}, starts); }; };
  EXPECT_THAT(mask({2, 5, 5}), ThrowsMessage<ConfigError>(AllOf(HasSubstr("strictly increasing"), HasSubstr("[0, 8)"),
                                                                HasSubstr("got 5 after 5"), HasSubstr("number 2"))));
  EXPECT_THAT(mask({2, 5, 4, 1}), ThrowsMessage<ConfigError>(AllOf(HasSubstr("got 4 after 5"), HasSubstr("number 2"))));
  EXPECT_THAT(mask({2, 8}), ThrowsMessage<ConfigError>(AllOf(HasSubstr("got 8"), HasSubstr("number 1"))));
  EXPECT_THAT(mask({-1, 2}), ThrowsMessage<ConfigError>(AllOf(HasSubstr("got -1"), HasSubstr("number 0"))));
}

}  // namespace
}  // namespace ringtron
