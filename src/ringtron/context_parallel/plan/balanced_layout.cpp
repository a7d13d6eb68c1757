#include "ringtron/context_parallel/plan/balanced_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/context_parallel/plan/document_division.h"
#include "ringtron/context_parallel/plan/shard_lengths.h"

namespace ringtron {
namespace {

// Finer chunks cost more than they save: more tiles of attention, more rows of other ranks.
constexpr double kGoodEnough = 1.05;
constexpr double kAim = 1.04;  // of documents that are moved anyway
constexpr std::int64_t kShortestChunk = 32;
constexpr int kMostClasses = 64;  // more would cost more in small blocks than the balance saves
// Of the mean area: what a finer division must save, unless it is the first good one.
constexpr double kWorthMoreCuts = 0.001;

std::int64_t total_area(std::span<const AttentionMask> masks, const PositionRange& queries) {
  std::int64_t area = 0;
  for (const AttentionMask& mask : masks) area += mask.area(queries);
  return area;
}

std::int64_t area_of(std::span<const AttentionMask> masks, const std::vector<PositionRange>& ranges) {
  std::int64_t area = 0;
  for (const PositionRange& range : ranges) area += total_area(masks, range);
  return area;
}

struct Division {
  std::vector<std::vector<PositionRange>> ranges_of_rank;
  double imbalance = 1.0;
};

double imbalance_of(const std::vector<std::int64_t>& areas) {
  const double total = std::accumulate(areas.begin(), areas.end(), 0.0);
  if (total == 0.0) return 1.0;
  return static_cast<double>(*std::max_element(areas.begin(), areas.end())) * static_cast<double>(areas.size()) / total;
}

bool is_better(const Division& finer, const Division& best) {
  const bool first_good = best.imbalance > kGoodEnough && finer.imbalance <= kGoodEnough;
  return first_good || finer.imbalance < best.imbalance - kWorthMoreCuts;
}

// One chunk of each class to each rank: the largest to the rank with the least area so far. The length that does not
// divide goes to the last class alone, so that shards differ by at most `multiple`.
Division divide(std::span<const AttentionMask> masks, int ranks, std::int64_t multiple, int classes) {
  const std::int64_t units = masks.front().sequence_length() / multiple;
  const std::int64_t each = units / (static_cast<std::int64_t>(ranks) * classes);
  Division division{std::vector<std::vector<PositionRange>>(static_cast<std::size_t>(ranks)), 1.0};
  std::vector<std::int64_t> areas(static_cast<std::size_t>(ranks), 0);
  std::int64_t position = 0;
  for (int c = 0; c < classes; ++c) {
    const std::int64_t rest = masks.front().sequence_length() - position;
    const std::vector<std::int64_t> lengths =
        c + 1 < classes ? std::vector<std::int64_t>(static_cast<std::size_t>(ranks), each * multiple)
                        : shard_lengths(rest, ranks, multiple);
    std::vector<std::pair<std::int64_t, PositionRange>> chunks;  // area and positions
    for (const std::int64_t length : lengths) {
      const PositionRange range{position, position + length};
      chunks.emplace_back(total_area(masks, range), range);
      position = range.end;
    }
    std::stable_sort(chunks.begin(), chunks.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<std::size_t> by_load(areas.size());
    std::iota(by_load.begin(), by_load.end(), 0);
    std::stable_sort(by_load.begin(), by_load.end(), [&](std::size_t a, std::size_t b) { return areas[a] < areas[b]; });
    for (std::size_t i = 0; i < by_load.size(); ++i) {
      areas[by_load[i]] += chunks[i].first;
      division.ranges_of_rank[by_load[i]].push_back(chunks[i].second);
    }
  }
  division.imbalance = imbalance_of(areas);
  return division;
}

// Whole documents where that balances. Null if the samples' documents differ, so that no cut suits all.
std::optional<Division> divide_by_documents(std::span<const AttentionMask> masks, int ranks, std::int64_t multiple) {
  const AttentionMask& mask = masks.front();
  const bool one = std::all_of(masks.begin(), masks.end(), [&](const AttentionMask& other) { return other == mask; });
  if (!one || mask.document_starts().size() < 2) return {};
  const std::vector<std::int64_t> lengths = shard_lengths(mask.sequence_length(), ranks, multiple);
  std::optional<Division> best;
  // First no document is too large to stay whole but those that no rank has room for, then fewer and fewer may.
  for (std::int64_t whole = mask.area(); whole >= mask.area() / (8 * ranks); whole /= 2) {
    Division division{internal::divide_documents(mask, lengths, whole, kAim)};
    std::vector<std::int64_t> areas;
    for (const auto& ranges : division.ranges_of_rank) areas.push_back(area_of(masks, ranges));
    division.imbalance = imbalance_of(areas);
    if (!best || is_better(division, *best)) best = std::move(division);
    if (best->imbalance <= kGoodEnough || whole == 0) break;
  }
  return best;
}

}  // namespace

SequenceLayout balanced_layout(std::span<const AttentionMask> masks, int ranks, std::int64_t multiple) {
  RT_CHECK(!masks.empty(), "a balanced layout needs a mask");
  for (const AttentionMask& mask : masks) {
    RT_CHECK_EQ(mask.sequence_length(), masks.front().sequence_length(), "sequence length of a sample");
  }
  const std::int64_t length = masks.front().sequence_length();
  shard_lengths(length, ranks, multiple);  // for its complaint
  Division best = divide(masks, ranks, multiple, 1);
  const auto try_other = [&](std::optional<Division> other) {
    if (other && is_better(*other, best)) best = std::move(*other);
  };
  for (int classes = 2; classes <= kMostClasses && best.imbalance > kGoodEnough; classes *= 2) {
    const std::int64_t chunk = length / (static_cast<std::int64_t>(ranks) * classes);
    if (chunk < std::max<std::int64_t>(multiple, 1) || (chunk < kShortestChunk && classes > 4)) break;
    try_other(divide(masks, ranks, multiple, classes));
    if (classes == 2 && best.imbalance > kGoodEnough) try_other(divide_by_documents(masks, ranks, multiple));
  }
  return SequenceLayout(std::string(word_of(CpLayout::balanced)), std::move(best.ranges_of_rank));
}

SequenceLayout make_layout(CpLayout layout, std::span<const AttentionMask> masks, int ranks, std::int64_t multiple) {
  RT_CHECK(!masks.empty(), "a layout needs a mask, for its length");
  const std::int64_t length = masks.front().sequence_length();
  switch (layout) {
    case CpLayout::zigzag:
      return zigzag_layout(length, ranks, multiple);
    case CpLayout::contiguous:
      return contiguous_layout(length, ranks, multiple);
    case CpLayout::balanced:
      break;
  }
  return balanced_layout(masks, ranks, multiple);
}

double area_imbalance(const SequenceLayout& layout, std::span<const AttentionMask> masks) {
  std::vector<std::int64_t> areas;
  for (int rank = 0; rank < layout.ranks(); ++rank) areas.push_back(area_of(masks, layout.of(rank)));
  return imbalance_of(areas);
}

double area_imbalance(const SequenceLayout& layout, std::span<const AttentionMask> masks,
                      std::span<const CpTransport> transports, int hierarchical_a) {
  double worst = 1.0;
  for (const CpTransport transport : std::set<CpTransport>(transports.begin(), transports.end())) {
    const int head_ranks = head_ranks_of(transport, layout.ranks(), hierarchical_a);
    worst = std::max(worst, area_imbalance(layout.merged(head_ranks), masks));
  }
  return worst;
}

}  // namespace ringtron
