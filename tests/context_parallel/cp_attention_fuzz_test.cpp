// Random cases of every transport, mask, layout, length and head count against the reference, in fp64; the
// ranks are threads of this process.
//
//   RINGTRON_FUZZ_CASES=10000   as many cases instead of 540 (for a nightly run)
//   RINGTRON_FUZZ_SEED=123      this one only, as a failure prints it
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/context_parallel/ring_parity.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using testing::Results;

constexpr std::int64_t kCases = 540;  // 9 of each transport x mask x layout
constexpr std::int64_t kLongLength = 4097;
// Scores of up to 4097 keys, summed in another order.
constexpr double kTolerance = 1e-10;

constexpr std::pair<int, int> kHeads[] = {{7, 7}, {7, 1}, {8, 2}, {6, 3}, {5, 1}, {1, 1}, {4, 4}, {2, 1}};
constexpr CpLayout kLayouts[] = {CpLayout::zigzag, CpLayout::contiguous, CpLayout::balanced};

enum class MaskKind { causal, full, window, documents, window_and_documents };
constexpr int kMaskKinds = 5;

struct FuzzCase {
  CaseSizes sizes;
  int ranks = 1;
};

// Numbers that depend on the seed of the case only.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : seed_(seed) {}
  std::int64_t below(std::int64_t n) { return random_word(20, seed_, count_++) % static_cast<std::uint64_t>(n); }
  std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  template <class Range>
  const auto& of(const Range& range) {
    return *(std::begin(range) + below(static_cast<std::int64_t>(std::size(range))));
  }

 private:
  std::uint64_t seed_, count_ = 0;
};

std::int64_t random_length(Dice& dice, int ranks) {
  const std::int64_t special[] = {1, 2, 7, ranks - 1, ranks, ranks + 1, 2 * ranks - 1, 2 * ranks};
  return dice.chance(35) ? std::max<std::int64_t>(1, dice.of(special)) : dice.between(3, 120);
}

AttentionWindow random_window(Dice& dice, std::int64_t length, bool causal) {
  const auto reach = [&] { return dice.chance(50) ? dice.below(5) : dice.below(length + 3); };
  if (causal) return {reach(), dice.chance(50) ? std::int64_t{-1} : std::int64_t{0}};
  AttentionWindow window{reach(), reach()};
  if (dice.chance(15)) (dice.chance(50) ? window.left : window.right) = -1;
  return window;
}

// A few documents that span ranks, many short ones, all of one token, or one with short ones behind it.
std::vector<std::int64_t> random_documents(Dice& dice, std::int64_t length) {
  std::set<std::int64_t> starts;
  const std::int64_t kind = dice.below(6);
  if (kind <= 1) {
    for (std::int64_t i = dice.below(4); i > 0; --i) starts.insert(dice.below(length));
  } else if (kind == 2) {
    for (std::int64_t i = length / 3; i > 0; --i) starts.insert(dice.below(length));
  } else if (kind == 3) {
    for (std::int64_t i = 0; i < length && length < 1000; ++i) starts.insert(i);
  } else if (kind == 4) {
    for (std::int64_t i = std::max<std::int64_t>(0, length - 9); i < length; ++i) starts.insert(i);
  }  // kind 5: one document
  if (dice.chance(50)) starts.insert(0);
  return {starts.begin(), starts.end()};
}

void add_mask(CaseSizes& z, MaskKind kind, Dice& dice) {
  z.causal = kind == MaskKind::causal || (kind != MaskKind::full && dice.chance(60));
  if (kind == MaskKind::window || kind == MaskKind::window_and_documents) {
    z.window = random_window(dice, z.sequence, z.causal);
  }
  const bool documents = kind == MaskKind::documents || kind == MaskKind::window_and_documents;
  // A call may also bring a shape in which every sample is one document.
  if (!documents && !dice.chance(20)) return;
  for (std::int64_t b = 0; b < z.batch; ++b) {
    z.documents.push_back(documents ? random_documents(dice, z.sequence) : std::vector<std::int64_t>{});
  }
}

FuzzCase fuzz_case(std::uint64_t seed) {
  static const std::vector<CpTransport> transports = cp_transports();
  const std::uint64_t count = transports.size();
  constexpr std::uint64_t kLayoutCount = std::size(kLayouts);
  Dice dice(seed);
  FuzzCase c;
  CaseSizes& z = c.sizes;
  z.numbers = seed;
  z.transport = transports[seed % count];
  const auto kind = static_cast<MaskKind>(seed / count % kMaskKinds);
  z.layout = kLayouts[seed / (count * kMaskKinds) % kLayoutCount];
  c.ranks = static_cast<int>(dice.between(1, 8));
  if (z.transport == CpTransport::hierarchical) {
    do z.hierarchical_a = static_cast<int>(dice.between(1, c.ranks));
    while (c.ranks % z.hierarchical_a != 0);
  }
  const bool is_long = seed % 101 == 100;  // the reference needs seconds and a gigabyte for one of these
  z.sequence = is_long ? kLongLength : random_length(dice, c.ranks);
  z.batch = is_long ? 1 : dice.between(1, 3);
  std::tie(z.heads, z.groups) = is_long ? std::pair(dice.chance(50) ? 2 : 1, 1) : dice.of(kHeads);
  z.head_size = is_long ? 4 : dice.between(1, 8);
  z.value_size = dice.chance(50) ? z.head_size : dice.between(1, 8);
  if (is_long) z.value_size = z.head_size;
  z.dropout = dice.chance(30) ? 0.1 * static_cast<double>(dice.between(1, 6)) : 0.0;
  const SoftmaxKind kinds[] = {SoftmaxKind::vanilla, SoftmaxKind::vanilla, SoftmaxKind::off_by_one,
                               SoftmaxKind::learnable};
  z.softmax = dice.of(kinds);
  add_mask(z, kind, dice);
  return c;
}

std::string to_string(const FuzzCase& c) {
  const CaseSizes& z = c.sizes;
  return fmt::format(
      "{} A {} over {} ranks, {} layout: s {} b {} n {} g {} d {} d_v {}, {}, window {} {}, "
      "softmax {}, "
      "dropout {}, documents {}",
      to_text(z.transport), z.hierarchical_a, c.ranks, word_of(z.layout), z.sequence, z.batch, z.heads, z.groups,
      z.head_size, z.value_size, z.causal ? "causal" : "full", z.window.left, z.window.right,
      static_cast<int>(z.softmax), z.dropout, z.documents);
}

// What differs from the reference, or what was thrown; empty when nothing.
std::string fault_of(const FuzzCase& c, CpFault fault = CpFault::none) {
  try {
    AttentionCase attention = testing::make_case(c.sizes);
    attention.fault = fault;
    const SequenceLayout layout = testing::layout_of(c.sizes, c.ranks);
    return testing::differences(testing::run_ring(attention, layout), testing::reference_results(attention), layout,
                                kTolerance);
  } catch (const std::exception& e) {
    return std::string("threw: ") + e.what();
  }
}

std::int64_t number_from(const char* variable, std::int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::atoll(text) : otherwise;
}

TEST(CpAttentionFuzz, EqualsTheReference) {
  const std::int64_t only = number_from("RINGTRON_FUZZ_SEED", -1);
  const std::int64_t cases = number_from("RINGTRON_FUZZ_CASES", kCases);
  int failures = 0;
  for (std::int64_t seed = only >= 0 ? only : 0; seed < (only >= 0 ? only + 1 : cases); ++seed) {
    const FuzzCase c = fuzz_case(static_cast<std::uint64_t>(seed));
    const std::string fault = fault_of(c);
    EXPECT_EQ(fault, "") << "RINGTRON_FUZZ_SEED=" << seed << ": " << to_string(c);
    failures += fault.empty() ? 0 : 1;
    ASSERT_LT(failures, 10) << "the other cases were not run";
  }
}

// By construction there are 9 of each transport x mask x layout; the rest is left to the dice.
TEST(CpAttentionFuzz, CasesCoverWhatTheyShould) {
  std::set<std::int64_t> lengths;
  std::set<std::pair<std::int64_t, std::int64_t>> heads;
  std::set<std::pair<CpTransport, int>> ranks;
  std::set<std::pair<int, int>> hierarchies;
  std::set<std::pair<CpTransport, SoftmaxKind>> softmaxes;
  std::set<CpTransport> long_ones;
  for (std::int64_t seed = 0; seed < kCases; ++seed) {
    const FuzzCase c = fuzz_case(static_cast<std::uint64_t>(seed));
    const CaseSizes& z = c.sizes;
    lengths.insert(z.sequence);
    heads.insert({z.heads, z.groups});
    ranks.insert({z.transport, c.ranks});
    softmaxes.insert({z.transport, z.softmax});
    if (z.transport == CpTransport::hierarchical) hierarchies.insert({c.ranks, z.hierarchical_a});
    if (z.sequence == kLongLength) long_ones.insert(z.transport);
  }
  for (const std::int64_t length : {1, 2, 7}) EXPECT_TRUE(lengths.contains(length)) << length;
  for (const auto& pair : kHeads) EXPECT_TRUE(heads.contains(pair)) << pair.first;
  EXPECT_EQ(ranks.size(), 4u * 8u);
  EXPECT_EQ(softmaxes.size(), 4u * 3u);
  EXPECT_EQ(hierarchies.size(), 20u);  // the divisors of 1 .. 8
  EXPECT_EQ(long_ones.size(), 4u);
}

// Negative control: faults on purpose never end in an exception, whatever the case, and where every rank has
// queries and keys of others that they see, none goes unseen.
TEST(CpAttentionFuzzControl, SeesFaults) {
  for (const CpFault fault :
       {CpFault::swap_chunks, CpFault::drop_merge, CpFault::skip_exchange, CpFault::double_count}) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      const FuzzCase c = fuzz_case(seed);
      const std::string what = fault_of(c, fault);
      const std::string text =
          fmt::format("fault {}, RINGTRON_FUZZ_SEED={}: {}", static_cast<int>(fault), seed, to_string(c));
      EXPECT_FALSE(what.starts_with("threw")) << what << text;
      const bool acts =
          c.ranks > 1 && c.sizes.sequence >= 2 * c.ranks && c.sizes.documents.empty() && !c.sizes.window.limited();
      EXPECT_TRUE(!acts || !what.empty()) << text;
    }
  }
}

}  // namespace
}  // namespace ringtron
