#include "ringtron/context_parallel/plan/sequence_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// Without empty ranges, and with neighbours that touch made one.
std::vector<PositionRange> joined(const std::vector<PositionRange>& ranges) {
  std::vector<PositionRange> result;
  for (const PositionRange& range : ranges) {
    if (!range.empty()) append_range(result, range);
  }
  return result;
}

}  // namespace

PositionRange intersection(const PositionRange& a, const PositionRange& b) {
  const std::int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

std::int64_t total_length(std::span<const PositionRange> ranges) {
  std::int64_t length = 0;
  for (const PositionRange& range : ranges) length += range.length();
  return length;
}

std::vector<StoredRange> stored_ranges(std::span<const PositionRange> ranges) {
  std::vector<StoredRange> stored;
  std::int64_t row = 0;
  for (const PositionRange& range : ranges) {
    stored.push_back({range, row});
    row += range.length();
  }
  return stored;
}

std::vector<std::int64_t> positions_in(std::span<const PositionRange> ranges) {
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(total_length(ranges)));
  for (const PositionRange& range : ranges) {
    for (std::int64_t p = range.begin; p < range.end; ++p) positions.push_back(p);
  }
  return positions;
}

std::vector<PositionRange> ranges_of(std::span<const std::int64_t> positions) {
  std::vector<PositionRange> ranges;
  for (const std::int64_t p : positions) append_range(ranges, {p, p + 1});
  return ranges;
}

void append_range(std::vector<PositionRange>& ranges, const PositionRange& next) {
  if (!ranges.empty() && ranges.back().end == next.begin) {
    ranges.back().end = next.end;
  } else {
    ranges.push_back(next);
  }
}

SequenceLayout::SequenceLayout(std::string name, std::vector<std::vector<PositionRange>> ranges_of_rank)
    : name_(std::move(name)) {
  RT_CHECK(!ranges_of_rank.empty(), "layout {} has no ranks", name_);
  std::vector<PositionRange> all;
  for (const auto& ranges : ranges_of_rank) {
    ranges_of_rank_.push_back(joined(ranges));
    const auto& held = ranges_of_rank_.back();
    RT_CHECK(std::ranges::is_sorted(held, {}, &PositionRange::begin), "layout {}: a rank's ranges do not ascend",
             name_);
    all.insert(all.end(), held.begin(), held.end());
  }
  std::ranges::sort(all, {}, &PositionRange::begin);
  for (const PositionRange& range : all) {
    RT_CHECK_EQ(range.begin, sequence_length_, "begin of a range of layout " + name_);
    sequence_length_ = range.end;
  }
}

std::int64_t SequenceLayout::local_length(int rank) const { return total_length(of(rank)); }

bool SequenceLayout::few_ranges() const {
  constexpr std::size_t kFew = 8;
  return std::all_of(ranges_of_rank_.begin(), ranges_of_rank_.end(),
                     [](const std::vector<PositionRange>& ranges) { return ranges.size() <= kFew; });
}

SequenceLayout SequenceLayout::merged(int size) const {
  RT_CHECK(size >= 1 && ranks() % size == 0, "groups of {} ranks out of {}", size, ranks());
  std::vector<std::vector<PositionRange>> groups;
  for (int first = 0; first < ranks(); first += size) {
    std::vector<PositionRange> ranges;
    for (int rank = first; rank < first + size; ++rank) ranges.insert(ranges.end(), of(rank).begin(), of(rank).end());
    std::ranges::sort(ranges, {}, &PositionRange::begin);
    groups.push_back(std::move(ranges));
  }
  return SequenceLayout(name_, std::move(groups));
}

std::vector<PositionRange> slice_ranges(std::span<const PositionRange> ranges, std::int64_t skip, std::int64_t count) {
  std::vector<PositionRange> result;
  for (const PositionRange& range : ranges) {
    const std::int64_t begin = range.begin + std::min(skip, range.length());
    skip -= begin - range.begin;
    const std::int64_t end = begin + std::min(count, range.end - begin);
    count -= end - begin;
    if (begin < end) result.push_back({begin, end});
  }
  RT_CHECK_EQ(count, 0, "positions asked for beyond the end of the ranges");
  return result;
}

}  // namespace ringtron
