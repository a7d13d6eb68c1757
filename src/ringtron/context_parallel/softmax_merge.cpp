#include "ringtron/context_parallel/softmax_merge.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block_attention.h"

namespace ringtron {

SoftmaxAccumulator::SoftmaxAccumulator(const at::Tensor& q, std::int64_t d_v, at::ScalarType type)
    : q_(q), d_v_(d_v < 0 ? q.size(3) : d_v), type_(type == at::ScalarType::Undefined ? q.scalar_type() : type) {}

// Room for a result of all rows, out in `type`.
SoftmaxPart SoftmaxAccumulator::empty(at::ScalarType type) const {
  const at::TensorOptions options = q_.options();
  return {at::empty({q_.size(0), q_.size(1), q_.size(2), d_v_}, options.dtype(type)),
          at::empty({q_.size(1), q_.size(2), q_.size(0)}, options.dtype(accumulate_type(q_.scalar_type())))};
}

// What waits becomes a sum of all rows of our own.
void SoftmaxAccumulator::fold() {
  if (owned_ && parts_.size() == 1) return;
  SoftmaxPart sum = owned_ ? parts_[0] : empty(accumulate_type(q_.scalar_type()));
  merge_parts(sum, parts_);
  parts_.assign(1, sum);
  owned_ = true;
}

void SoftmaxAccumulator::merge(std::int64_t first_row, const at::Tensor& part_out, const at::Tensor& part_lse, int sample) {
  RT_CHECK_LE(first_row + part_out.size(0), q_.size(0), "rows to merge");
  RT_CHECK_EQ(part_out.size(3), d_v_, "head size of the values");
  if (parts_.size() == kMostMerged || sample >= 0) fold();
  if (sample < 0) {
    parts_.push_back({part_out, part_lse, first_row});
    return;
  }
  SoftmaxPart rows{parts_[0].out.narrow(0, first_row, part_out.size(0)).narrow(1, sample, 1),
                   parts_[0].lse.narrow(2, first_row, part_out.size(0)).narrow(0, sample, 1)};
  const SoftmaxPart both[] = {rows, {part_out, part_lse}};
  merge_parts(rows, both);
}

void SoftmaxAccumulator::add_sink(const at::Tensor& sink) {
  // A part whose values are all zero.
  const at::ScalarType type = accumulate_type(q_.scalar_type());
  if (parts_.size() == kMostMerged) fold();
  parts_.push_back({at::zeros({1, 1, 1, 1}, q_.options().dtype(type)).expand({q_.size(0), q_.size(1), q_.size(2), d_v_}),
                    sink.to(type).view({1, -1, 1}).expand({q_.size(1), q_.size(2), q_.size(0)})});
}

// Where the first part has every row and the type of the result, and the others few, only these few are passed over.
bool SoftmaxAccumulator::merge_into_first() {
  if (parts_.empty() || parts_[0].out.size(0) != q_.size(0) || parts_[0].out.scalar_type() != type_) return false;
  std::int64_t begin = q_.size(0), end = 0;
  for (std::size_t i = 1; i < parts_.size(); ++i) {
    begin = std::min(begin, parts_[i].first_row);
    end = std::max(end, parts_[i].first_row + parts_[i].out.size(0));
  }
  if (2 * (end - begin) > q_.size(0)) return false;
  if (begin < end) {
    SoftmaxPart rows{parts_[0].out.narrow(0, begin, end - begin), parts_[0].lse.narrow(2, begin, end - begin)};
    std::vector<SoftmaxPart> parts{rows};
    for (std::size_t i = 1; i < parts_.size(); ++i) {
      parts.push_back({parts_[i].out, parts_[i].lse, parts_[i].first_row - begin});
    }
    merge_parts(rows, parts);
  }
  parts_.resize(1);
  return true;
}

SoftmaxAccumulator::Result SoftmaxAccumulator::result() {
  const bool only = (parts_.size() == 1 && parts_[0].out.size(0) == q_.size(0)) || merge_into_first();
  if (only) return {parts_[0].out.to(type_).contiguous(), parts_[0].lse.contiguous()};  // no copy, no more rounding
  SoftmaxPart whole = empty(type_);
  merge_parts(whole, parts_);
  return {whole.out, whole.lse};
}

}  // namespace ringtron
