#include "ringtron/context_parallel/softmax_merge.h"

#include <ATen/ATen.h>

#include <limits>

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

SoftmaxPart SoftmaxAccumulator::nothing() const {
  SoftmaxPart part = empty(accumulate_type(q_.scalar_type()));
  part.out.zero_();
  part.lse.fill_(-std::numeric_limits<double>::infinity());
  return part;
}

// What waits is merged into a sum of our own.
void SoftmaxAccumulator::fold() {
  if (!sum_.out.defined()) {
    sum_ = nothing();
    owned_ = true;
  }
  if (!waiting_.out.defined()) return;
  SoftmaxPart into = owned_ ? sum_ : empty(accumulate_type(q_.scalar_type()));
  merge_parts(into, sum_, waiting_);
  sum_ = into;
  owned_ = true;
  waiting_ = {};
}

void SoftmaxAccumulator::merge(std::int64_t first_row, const at::Tensor& part_out, const at::Tensor& part_lse, int sample) {
  const std::int64_t rows = part_out.size(0);
  RT_CHECK_LE(first_row + rows, q_.size(0), "rows to merge");
  RT_CHECK_EQ(part_out.size(3), d_v_, "head size of the values");
  if (!sum_.out.defined() && rows == q_.size(0) && sample < 0) {  // perhaps the only part: no copy, no rounding
    sum_ = {part_out, part_lse};
    return;
  }
  if (sample >= 0 || !sum_.out.defined() || waiting_.out.defined()) fold();
  if (sample < 0) {
    waiting_ = {part_out, part_lse, first_row};
    return;
  }
  if (!owned_) {  // one sample's rows are merged in place
    const SoftmaxPart only = sum_;
    sum_ = nothing();
    owned_ = true;
    merge_parts(sum_, sum_, only);
  }
  SoftmaxPart of_sample{sum_.out.narrow(1, sample, 1), sum_.lse.narrow(0, sample, 1)};
  merge_parts(of_sample, of_sample, {part_out, part_lse, first_row});
}

void SoftmaxAccumulator::add_sink(const at::Tensor& sink) {
  // A part whose values are all zero.
  const at::ScalarType type = accumulate_type(q_.scalar_type());
  SoftmaxPart part{at::zeros({1, 1, 1, 1}, q_.options().dtype(type)).expand({q_.size(0), q_.size(1), q_.size(2), d_v_}),
                   sink.to(type).view({1, -1, 1}).expand({q_.size(1), q_.size(2), q_.size(0)})};
  fold();
  waiting_ = std::move(part);
}

SoftmaxAccumulator::Result SoftmaxAccumulator::result() {
  if (!sum_.out.defined()) fold();
  if (!waiting_.out.defined()) return {sum_.out.to(type_).contiguous(), sum_.lse.contiguous()};
  SoftmaxPart whole = empty(type_);
  merge_parts(whole, sum_, waiting_);
  return {whole.out, whole.lse};
}

}  // namespace ringtron
