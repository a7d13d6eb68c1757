#include "ringtron/context_parallel/row_sum.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/kernels/copy_rows/copy_rows.h"

namespace ringtron::internal {
namespace {

// With more, a pass over all rows costs less than a launch for each.
constexpr std::size_t kFewRanges = 8;

}  // namespace

RowSum::RowSum(const at::Tensor& like, std::int64_t rows, at::ScalarType type)
    : rows_(rows), like_(at::empty({0, like.size(1), like.size(2), like.size(3)}, like.options().dtype(type))) {}

bool RowSum::is_folded() const {
  return parts_.size() == 1 && parts_[0].x.scalar_type() == like_.scalar_type() && parts_[0].x.size(0) == rows_ &&
         !parts_[0].scale.defined();
}

// What waits becomes one sum over all rows.
void RowSum::fold() {
  if (is_folded()) return;
  // Parts of a sum share no memory with others, except the first of a sum that was folded before: that one is ours.
  const bool ours = !parts_.empty() && parts_[0].x.scalar_type() == like_.scalar_type() && parts_[0].x.size(0) == rows_ &&
                    parts_[0].first_row == 0 && !parts_[0].scale.defined() && parts_[0].x.use_count() == 1 && parts_[0].x.storage().use_count() == 1;
  at::Tensor sum = ours ? parts_[0].x : at::empty({rows_, like_.size(1), like_.size(2), like_.size(3)}, like_.options());
  sum_parts(sum, 0, parts_);
  parts_.assign(1, {sum, 0, {}});
}

void RowSum::add(const PositionRange& rows, const at::Tensor& part, const at::Tensor& scale) {
  RT_CHECK(rows.begin >= 0 && rows.end <= rows_ && part.size(0) == rows.length(), "rows {} to {} of a sum of {} rows",
           rows.begin, rows.end, rows_);
  if (rows.empty()) return;
  if (parts_.size() == kMostSummed) fold();
  parts_.push_back({part.contiguous(), rows.begin, scale});
}

void RowSum::add_sample(const PositionRange& rows, int sample, const at::Tensor& part, const at::Tensor& scale) {
  fold();
  const at::Tensor into = parts_[0].x.narrow(0, rows.begin, rows.length()).narrow(1, sample, 1);
  into.add_(scale.defined() ? part.to(like_.scalar_type()) * scale : part);
}

void RowSum::add_rows_of(RowSum& other, std::span<const PositionRange> ranges) {
  if (other.parts_.empty()) return;
  if (ranges.size() > kFewRanges) {
    const at::Tensor sum = other.rows(ranges, like_.scalar_type());
    return add({0, sum.size(0)}, sum);
  }
  std::int64_t row = 0;
  for (const PositionRange& range : ranges) {
    for (const RowPart& part : other.parts_) {
      const PositionRange both = intersection(range, {part.first_row, part.first_row + part.x.size(0)});
      if (both.empty()) continue;
      const std::int64_t first = row + both.begin - range.begin;
      add({first, first + both.length()}, part.x.narrow(0, both.begin - part.first_row, both.length()), part.scale);
    }
    row += range.length();
  }
}

at::Tensor RowSum::rows(std::span<const PositionRange> ranges, at::ScalarType type) {
  if (ranges.size() <= kFewRanges) return rows_of(parts_, ranges, type);
  fold();
  std::int64_t count = 0;
  for (const PositionRange& range : ranges) count += range.length();
  const at::Tensor result = at::empty({count, like_.size(1), like_.size(2), like_.size(3)}, like_.options());
  std::vector<RowCopy> copies;
  std::int64_t row = 0;
  for (const PositionRange& range : ranges) {
    copies.push_back({result.narrow(0, row, range.length()), parts_[0].x.narrow(0, range.begin, range.length())});
    row += range.length();
  }
  copy_rows(copies);
  return result.to(type);
}

at::Tensor RowSum::rows_of(std::span<const RowPart> parts, std::span<const PositionRange> ranges, at::ScalarType type) const {
  std::int64_t count = 0;
  for (const PositionRange& range : ranges) count += range.length();
  at::Tensor result = at::empty({count, like_.size(1), like_.size(2), like_.size(3)}, like_.options().dtype(type));
  std::int64_t row = 0;
  for (const PositionRange& range : ranges) {
    at::Tensor into = result.narrow(0, row, range.length());
    sum_parts(into, range.begin, parts);
    row += range.length();
  }
  return result;
}

at::Tensor RowSum::rows_unscaled(std::span<const PositionRange> ranges, const at::Tensor& scale) {
  const bool common = std::all_of(parts_.begin(), parts_.end(), [&](const RowPart& part) { return part.scale.is_same(scale); });
  if (!common) return rows(ranges, like_.scalar_type()).div_(scale).to(at::kHalf);  // folded on the way, or not ours alone
  const bool whole = ranges.size() == 1 && ranges[0] == PositionRange{0, rows_};
  if (whole && parts_.size() == 1 && parts_[0].x.size(0) == rows_ && parts_[0].x.scalar_type() == at::kHalf) return parts_[0].x;
  std::vector<RowPart> unscaled = parts_;
  for (RowPart& part : unscaled) part.scale = at::Tensor();
  return rows_of(unscaled, ranges, at::kHalf);
}

// Where one part has every row and the type of the result, and the others few, only these few are passed over.
bool RowSum::add_into_whole_part(at::ScalarType type) {
  const auto whole = std::ranges::find_if(parts_, [&](const RowPart& part) {
    const bool alone = part.x.storage().nbytes() == part.x.nbytes();  // else the result would keep more in memory than itself
    return alone && part.x.size(0) == rows_ && part.x.scalar_type() == type && !part.scale.defined();
  });
  if (whole == parts_.end()) return false;
  std::rotate(parts_.begin(), whole, whole + 1);
  std::int64_t begin = rows_, end = 0;
  for (std::size_t i = 1; i < parts_.size(); ++i) {
    begin = std::min(begin, parts_[i].first_row);
    end = std::max(end, parts_[i].first_row + parts_[i].x.size(0));
  }
  if (2 * (end - begin) > rows_) return false;
  if (begin < end) {
    at::Tensor into = parts_[0].x.narrow(0, begin, end - begin);
    sum_parts(into, begin, parts_);
  }
  parts_.resize(1);
  return true;
}

at::Tensor RowSum::all(at::ScalarType type) {
  if (add_into_whole_part(type)) return parts_[0].x;
  const PositionRange whole{0, rows_};
  return rows({&whole, 1}, type);
}

}  // namespace ringtron::internal
