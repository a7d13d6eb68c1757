#include "ringtron/context_parallel/softmax_merge.h"

#include <ATen/ATen.h>

#include <limits>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block_attention.h"

namespace ringtron {
namespace {

// exp(part - whole), 0 where both are -inf; [b, n, s] -> [s, b, n, 1].
at::Tensor weight(const at::Tensor& part, const at::Tensor& whole) {
  return (part - whole).exp_().masked_fill_(whole.isneginf(), 0.0).permute({2, 0, 1}).unsqueeze(-1);
}

}  // namespace

void softmax_merge(at::Tensor& out, at::Tensor& lse, const at::Tensor& part_out, const at::Tensor& part_lse) {
  const at::Tensor whole = at::logaddexp(lse, part_lse);
  out.mul_(weight(lse, whole)).addcmul_(part_out.to(out.scalar_type()), weight(part_lse, whole));
  lse.copy_(whole);
}

SoftmaxAccumulator::SoftmaxAccumulator(const at::Tensor& q, std::int64_t d_v)
    : q_(q), d_v_(d_v < 0 ? q.size(3) : d_v) {}

void SoftmaxAccumulator::own() {
  if (owned_) return;
  const at::TensorOptions options = q_.options().dtype(accumulate_type(q_.scalar_type()));
  const std::vector<std::int64_t> shape{q_.size(0), q_.size(1), q_.size(2), d_v_};
  if (out_.defined()) {
    out_ = at::empty(shape, options).copy_(out_);
    lse_ = lse_.clone(at::MemoryFormat::Contiguous);
  } else {
    out_ = at::zeros(shape, options);
    lse_ = at::full({q_.size(1), q_.size(2), q_.size(0)}, -std::numeric_limits<double>::infinity(), options);
  }
  owned_ = true;
}

void SoftmaxAccumulator::merge(std::int64_t first_row, const at::Tensor& part_out, const at::Tensor& part_lse,
                               int sample) {
  const std::int64_t rows = part_out.size(0);
  RT_CHECK_LE(first_row + rows, q_.size(0), "rows to merge");
  RT_CHECK_EQ(part_out.size(3), d_v_, "head size of the values");
  if (!out_.defined() && rows == q_.size(0) && sample < 0) {  // perhaps the only part: no copy, no rounding
    out_ = part_out;
    lse_ = part_lse;
    return;
  }
  own();
  at::Tensor out = out_.narrow(0, first_row, rows), lse = lse_.narrow(2, first_row, rows);
  if (sample >= 0) {
    out = out.narrow(1, sample, 1);
    lse = lse.narrow(0, sample, 1);
  }
  softmax_merge(out, lse, part_out, part_lse);
}

void SoftmaxAccumulator::add_sink(const at::Tensor& sink) {
  own();
  // A part whose values are all zero.
  const at::Tensor whole = at::logaddexp(lse_, sink.view({1, -1, 1}).to(lse_.scalar_type()));
  out_.mul_(weight(lse_, whole));
  lse_ = whole;
}

at::Tensor SoftmaxAccumulator::out() {
  if (!out_.defined()) own();
  return out_.to(q_.scalar_type()).contiguous();
}

at::Tensor SoftmaxAccumulator::lse() {
  if (!lse_.defined()) own();
  return lse_.contiguous();
}

}  // namespace ringtron
