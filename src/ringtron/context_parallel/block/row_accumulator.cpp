#include "ringtron/context_parallel/block/row_accumulator.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/kernels/copy_rows/copy_rows.h"
#include "ringtron/kernels/softmax_merge/softmax_merge.h"
#include "ringtron/kernels/sum_parts/sum_parts.h"

namespace ringtron {
namespace {

constexpr std::size_t kMostWaiting = std::min(kMostSummed, kMostMerged);
// With more, a pass over all rows costs less than a launch for each.
constexpr std::size_t kFewRanges = 8;

}  // namespace

RowAccumulator::RowAccumulator(Kind kind, const at::Tensor& like, std::int64_t rows, at::ScalarType type)
    : kind_(kind),
      like_(at::empty({0, like.size(1), like.size(2), like.size(3)}, like.options().dtype(type))),
      rows_(rows) {}

RowAccumulator::Part RowAccumulator::empty(std::int64_t rows, at::ScalarType type) const {
  Part part{at::empty({rows, like_.size(1), like_.size(2), like_.size(3)}, like_.options().dtype(type)), {}, 0};
  if (kind_ == Kind::softmax) part.lse = at::empty({like_.size(1), like_.size(2), rows}, like_.options());
  return part;
}

void RowAccumulator::combine(Part& whole, std::span<const Part> parts) const {
  if (kind_ == Kind::sum) {
    std::vector<RowPart> rows;
    for (const Part& part : parts) rows.push_back({part.x, part.first_row});
    return sum_parts(whole.x, whole.first_row, rows);
  }
  SoftmaxPart into{whole.x, whole.lse, 0};
  std::vector<SoftmaxPart> rows;
  for (const Part& part : parts) rows.push_back({part.x, part.lse, part.first_row - whole.first_row});
  merge_parts(into, rows);
}

// What waits becomes one sum over all rows, of our own.
void RowAccumulator::fold() {
  if (owned_ && parts_.size() == 1) return;
  Part sum = owned_ ? parts_[0] : empty(rows_, like_.scalar_type());
  combine(sum, parts_);
  parts_.assign(1, sum);
  owned_ = true;
}

void RowAccumulator::add(const PositionRange& rows, int sample, const at::Tensor& x, const at::Tensor& lse) {
  RT_CHECK(rows.begin >= 0 && rows.end <= rows_ && x.size(0) == rows.length(), "rows {} to {} of {} rows", rows.begin,
           rows.end, rows_);
  RT_CHECK_EQ(x.size(3), like_.size(3), "head size");
  if (rows.empty()) return;
  if (parts_.size() == kMostWaiting || sample >= 0) fold();
  if (sample < 0) {
    parts_.push_back({kind_ == Kind::sum ? x.contiguous() : x, lse, rows.begin});
    return;
  }
  const at::Tensor into = parts_[0].x.narrow(0, rows.begin, rows.length()).narrow(1, sample, 1);
  if (kind_ == Kind::sum) {
    into.add_(x);
    return;
  }
  Part whole{into, parts_[0].lse.narrow(2, rows.begin, rows.length()).narrow(0, sample, 1), 0};
  const Part both[] = {whole, {x, lse, 0}};
  combine(whole, both);
}

void RowAccumulator::add_sink(const at::Tensor& sink) {
  RT_CHECK(kind_ == Kind::softmax, "a sum has no softmax");
  if (parts_.size() == kMostWaiting) fold();
  // A part whose values are all zero.
  parts_.push_back(
      {at::zeros({1, 1, 1, 1}, like_.options()).expand({rows_, like_.size(1), like_.size(2), like_.size(3)}),
       sink.to(like_.scalar_type()).view({1, -1, 1}).expand({like_.size(1), like_.size(2), rows_}), 0});
}

// Where the first part has every row and the type of the result, and the others few, only these few are passed over.
bool RowAccumulator::add_rest_to_first(at::ScalarType type) {
  if (parts_.empty()) return false;
  const at::Tensor& first = parts_[0].x;
  // A view would keep more in memory than the result.
  const bool alone = kind_ == Kind::softmax || (first.is_contiguous() && first.storage().nbytes() == first.nbytes());
  if (!alone || first.size(0) != rows_ || first.scalar_type() != type) return false;
  std::int64_t begin = rows_, end = 0;
  for (std::size_t i = 1; i < parts_.size(); ++i) {
    begin = std::min(begin, parts_[i].first_row);
    end = std::max(end, parts_[i].first_row + parts_[i].x.size(0));
  }
  if (2 * (end - begin) > rows_) return false;
  if (begin < end) {
    Part whole{first.narrow(0, begin, end - begin),
               kind_ == Kind::softmax ? parts_[0].lse.narrow(2, begin, end - begin) : at::Tensor(), begin};
    std::vector<Part> parts = parts_;
    parts[0] = whole;
    combine(whole, parts);
  }
  parts_.resize(1);
  return true;
}

RowAccumulator::Result RowAccumulator::result(at::ScalarType type) {
  const bool only = parts_.size() == 1 && parts_[0].x.size(0) == rows_;
  if (add_rest_to_first(type) || (only && kind_ == Kind::softmax)) {  // no copy, no more rounding
    return {parts_[0].x.to(type).contiguous(), kind_ == Kind::softmax ? parts_[0].lse.contiguous() : at::Tensor()};
  }
  Part whole = empty(rows_, type);
  combine(whole, parts_);
  return {whole.x, whole.lse};
}

at::Tensor RowAccumulator::rows(std::span<const PositionRange> ranges) {
  RT_CHECK(kind_ == Kind::sum, "rows of a softmax");
  const at::ScalarType type = like_.scalar_type();
  if (ranges.size() == 1 && ranges[0] == PositionRange{0, rows_}) return result(type).x;
  const bool few = ranges.size() <= kFewRanges;
  if (!few) fold();
  const Part result = empty(total_length(ranges), type);
  std::vector<RowCopy> copies;
  for (const StoredRange& range : stored_ranges(ranges)) {
    const auto& [begin, end] = range.positions;
    Part into{result.x.narrow(0, range.first_row, end - begin), {}, begin};
    if (few) {
      combine(into, parts_);
    } else {
      copies.push_back({into.x, parts_[0].x.narrow(0, begin, end - begin)});
    }
  }
  copy_rows(copies);
  return result.x;
}

}  // namespace ringtron
