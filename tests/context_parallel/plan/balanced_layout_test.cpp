#include "ringtron/context_parallel/plan/balanced_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <random>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Masks = std::vector<AttentionMask>;

// Nine short documents for each long one, until the sequence is full.
AttentionMask mixed_documents(std::int64_t length, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
  };
  std::vector<std::int64_t> starts;
  for (std::int64_t at = 0; at < length;) {
    starts.push_back(at);
    at += pick(1, 10) == 1 ? pick(4096, 16384) : pick(64, 512);
  }
  return {length, true, {}, starts};
}

void expect_even_lengths(const SequenceLayout& layout, std::int64_t multiple) {
  std::int64_t least = layout.sequence_length(), most = 0;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const std::int64_t length = layout.local_length(rank);
    EXPECT_EQ(length % multiple, 0);
    least = std::min(least, length);
    most = std::max(most, length);
  }
  EXPECT_LE(most - least, multiple) << layout.sequence_length() << " on " << layout.ranks();
}

TEST(BalancedLayout, SharesAMixOfShortAndLongDocumentsEvenlyOnEightRanks) {
  for (const std::int64_t length : {32768, 65536, 131072, 100000}) {
    double worst = 1.0, zigzag = 1.0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const Masks masks = {mixed_documents(length, seed)};
      const SequenceLayout layout = balanced_layout(masks, 8);
      EXPECT_LE(area_imbalance(layout, masks), 1.05) << length << " tokens, seed " << seed;
      worst = std::max(worst, area_imbalance(layout, masks));
      zigzag = std::max(zigzag, area_imbalance(zigzag_layout(length, 8), masks));
      EXPECT_EQ(layout.sequence_length(), length);
      EXPECT_EQ(layout.name(), "balanced");
      expect_even_lengths(layout, 1);
    }
    std::cout << length << " tokens: max/mean area at most " << worst << " (zigzag " << zigzag << ")\n";
  }
}

// Documents of which more than one rank has a part.
int cut_documents(const SequenceLayout& layout, const AttentionMask& mask) {
  int cut = 0;
  const std::vector<std::int64_t>& starts = mask.document_starts();
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const PositionRange document{starts[i], i + 1 < starts.size() ? starts[i + 1] : mask.sequence_length()};
    int holders = 0;
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      const auto& ranges = layout.of(rank);
      holders += std::any_of(ranges.begin(), ranges.end(),
                             [&](const PositionRange& range) { return !intersection(range, document).empty(); });
    }
    cut += holders > 1;
  }
  return cut;
}

// Each cut costs messages and calls of a kernel. With eight ranks seven cuts would do if only area had to be even.
TEST(BalancedLayout, CutsFewDocuments) {
  for (const std::int64_t length : {65536, 131072}) {
    int most = 0, zigzag = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const AttentionMask mask = mixed_documents(length, seed);
      most = std::max(most, cut_documents(balanced_layout(Masks{mask}, 8), mask));
      zigzag = std::max(zigzag, cut_documents(zigzag_layout(length, 8), mask));
    }
    EXPECT_LE(most, 13) << length;
    EXPECT_LT(most, zigzag) << length;
    std::cout << length << " tokens: at most " << most << " documents are cut (zigzag " << zigzag << ")\n";
  }
}

// A division of documents that is good enough is taken although two chunks a rank are nearly as good.
TEST(BalancedLayout, DoesNotShredWhatDocumentsBalance) {
  const AttentionMask mask(65536, true, {},
                           {0, 6000, 8000, 14000, 16000, 22000, 24000, 30000, 36000, 42000, 48000, 54000, 60000});
  const SequenceLayout layout = balanced_layout(Masks{mask}, 8);
  EXPECT_LE(area_imbalance(layout, Masks{mask}), 1.05);
  for (int rank = 0; rank < 8; ++rank) EXPECT_LE(layout.of(rank).size(), 6u) << rank;
}

TEST(BalancedLayout, WholeDocumentsWhereTheyFit) {
  // A long and some short ones for each of three ranks, in any order.
  const std::vector<std::int64_t> lengths = {1000, 100, 100, 1000, 200, 1000, 50, 50, 100};
  std::vector<std::int64_t> starts;
  std::int64_t at = 0;
  for (const std::int64_t length : lengths) {
    starts.push_back(at);
    at += length;
  }
  const AttentionMask mask(at, true, {}, starts);
  const SequenceLayout layout = balanced_layout(Masks{mask}, 3);
  EXPECT_EQ(cut_documents(layout, mask), 0);
  EXPECT_LE(area_imbalance(layout, Masks{mask}), 1.05);
}

TEST(BalancedLayout, BalancesTheSamplesOfAMicroBatchTogether) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Masks masks = {mixed_documents(65536, seed), mixed_documents(65536, seed + 100)};
    const SequenceLayout layout = balanced_layout(masks, 8);
    EXPECT_LE(area_imbalance(layout, masks), 1.05) << seed;
    expect_even_lengths(layout, 1);
  }
}

TEST(BalancedLayout, KeepsShardsMultiplesForSequenceParallelism) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Masks masks = {mixed_documents(65544, seed)};
    const SequenceLayout layout = balanced_layout(masks, 8, 8);
    EXPECT_LE(area_imbalance(layout, masks), 1.05) << seed;
    expect_even_lengths(layout, 8);
  }
}

TEST(BalancedLayout, DenseMasksAreBalancedToo) {
  for (const bool causal : {true, false}) {
    for (const int ranks : {2, 3, 8}) {
      const Masks masks = {{32768, causal}};
      EXPECT_LE(area_imbalance(balanced_layout(masks, ranks), masks), 1.05) << ranks;
    }
  }
}

TEST(BalancedLayout, TheSameOnEveryCall) {
  const Masks masks = {mixed_documents(50000, 3)};
  const SequenceLayout layout = balanced_layout(masks, 6);
  for (int repeat = 0; repeat < 3; ++repeat) EXPECT_EQ(balanced_layout(Masks{masks}, 6), layout);
}

TEST(BalancedLayout, AnyLength) {
  for (const std::int64_t multiple : {1, 2, 4}) {
    for (std::int64_t length = 0; length <= 60; ++length) {
      for (int ranks = 1; ranks <= 9; ++ranks) {
        const Masks masks = {{length * multiple, true}};
        const SequenceLayout layout = balanced_layout(masks, ranks, multiple);
        ASSERT_EQ(layout.ranks(), ranks);
        ASSERT_EQ(layout.sequence_length(), length * multiple);
        expect_even_lengths(layout, multiple);
      }
    }
  }
  EXPECT_THROW(balanced_layout(Masks{{10, true}}, 2, 4), ConfigError);
}

TEST(BalancedLayout, MasksOfDifferentLengthsAreRefused) {
  EXPECT_THROW(balanced_layout(Masks{{10, true}, {12, true}}, 2), InternalError);
}

TEST(AreaImbalance, IsTheLargestAreaOverTheMean) {
  // Causal areas of the halves of 4: 1 + 2 and 3 + 4.
  const Masks causal = {{4, true}};
  EXPECT_DOUBLE_EQ(area_imbalance(contiguous_layout(4, 2), causal), 7 / 5.0);
  EXPECT_DOUBLE_EQ(area_imbalance(zigzag_layout(4, 2), causal), 1.0);
  EXPECT_DOUBLE_EQ(area_imbalance(contiguous_layout(4, 2), Masks{{4, true}, {4, false}}), (7 + 8) / 13.0);
  EXPECT_DOUBLE_EQ(area_imbalance(contiguous_layout(0, 2), Masks{{0, true}}), 1.0);
}

TEST(MakeLayout, MakesTheLayoutOfTheFlag) {
  const Masks masks = {{16, true}};
  EXPECT_EQ(make_layout(CpLayout::zigzag, masks, 4), zigzag_layout(16, 4));
  EXPECT_EQ(make_layout(CpLayout::contiguous, masks, 4), contiguous_layout(16, 4));
  EXPECT_EQ(make_layout(CpLayout::balanced, masks, 4), balanced_layout(masks, 4));
  EXPECT_EQ(make_layout(CpLayout::zigzag, masks, 3, 4), zigzag_layout(16, 3, 4));
}

}  // namespace
}  // namespace ringtron
