#include "ringtron/context_parallel/softmax_merge.h"

#include <ATen/ATen.h>

#include <limits>

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

SoftmaxAccumulator::SoftmaxAccumulator(const at::Tensor& q) : q_(q) {}

void SoftmaxAccumulator::own() {
  if (owned_) return;
  const at::TensorOptions options = q_.options().dtype(accumulate_type(q_.scalar_type()));
  if (out_.defined()) {
    out_ = at::empty(q_.sizes(), options).copy_(out_);
    lse_ = lse_.clone(at::MemoryFormat::Contiguous);
  } else {
    out_ = at::zeros(q_.sizes(), options);
    lse_ = at::full({q_.size(1), q_.size(2), q_.size(0)}, -std::numeric_limits<double>::infinity(), options);
  }
  owned_ = true;
}

void SoftmaxAccumulator::merge(std::int64_t first_row, const at::Tensor& part_out, const at::Tensor& part_lse) {
  const std::int64_t rows = part_out.size(0);
  RT_CHECK_LE(first_row + rows, q_.size(0), "rows to merge");
  if (!out_.defined() && rows == q_.size(0)) {  // the only part of a ring of one: no copy, no rounding
    out_ = part_out;
    lse_ = part_lse;
    return;
  }
  own();
  at::Tensor out = out_.narrow(0, first_row, rows), lse = lse_.narrow(2, first_row, rows);
  softmax_merge(out, lse, part_out, part_lse);
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
