// Merges attention results over parts of the keys into the result over all of them.
//
// With out_i normalised within part i and lse_i the log-sum-exp of its scores,
//   lse = log(exp(lse_a) + exp(lse_b)),  out = out_a exp(lse_a - lse) + out_b exp(lse_b - lse).
// Computed in the accumulate type (fp32; fp64 for fp64), whatever type the parts have. A part without keys
// has lse -inf and adds nothing; two such parts give 0 and -inf, not NaN. The bits depend on the order of
// merges: callers merge in the order of their plan, which is fixed by chunk numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

// out [s, b, n, d_v] and lse [b, n, s], in the accumulate type, are merged with a part of the same shapes, in
// place.
void softmax_merge(at::Tensor& out, at::Tensor& lse, const at::Tensor& part_out, const at::Tensor& part_lse);

// The running result of one rank's queries: one buffer, parts merged as they come.
class SoftmaxAccumulator {
 public:
  // For the shape, type and device of q; `d_v`: head size of the values, -1: that of q.
  explicit SoftmaxAccumulator(const at::Tensor& q, std::int64_t d_v = -1);

  // Merges a part that covers rows [first_row, first_row + part_out.size(0)) of one sample; -1: of all.
  void merge(std::int64_t first_row, const at::Tensor& part_out, const at::Tensor& part_lse, int sample = -1);

  // Adds exp(sink) to the denominator of every row; [n], accumulate type. At most once, after all parts.
  void add_sink(const at::Tensor& sink);

  at::Tensor out();  // contiguous, in the type of q; zeros where nothing was merged
  at::Tensor lse();  // contiguous, in the accumulate type; -inf where nothing was merged

 private:
  void own();

  at::Tensor q_;
  std::int64_t d_v_;
  at::Tensor out_, lse_;  // undefined before the first part
  bool owned_ = false;    // false: they are the only part so far, in its own type, not to be written
};

}  // namespace ringtron
