// The running attention result of one rank's queries: parts over disjoint keys, merged as they come.
//
// Merged in the accumulate type (fp32; fp64 for fp64), whatever type the parts have, and rounded once at the end. A part
// without keys has lse -inf and adds nothing. The bits depend on the order of merges: callers merge in the order of their
// plan, which is fixed by chunk numbers. The mathematics is in kernels/softmax_merge/softmax_merge.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ringtron/kernels/softmax_merge/softmax_merge.h"

namespace ringtron {

class SoftmaxAccumulator {
 public:
  // For the shape and device of q; `d_v`: head size of the values, -1: that of q; `type` of the result, Undefined: that
  // of q.
  explicit SoftmaxAccumulator(const at::Tensor& q, std::int64_t d_v = -1, at::ScalarType type = at::ScalarType::Undefined);

  // Merges a part that covers rows [first_row, first_row + part_out.size(0)) of one sample; -1: of all. Takes the part over:
  // it may be written, and must not be written by others.
  void merge(std::int64_t first_row, const at::Tensor& part_out, const at::Tensor& part_lse, int sample = -1);

  // Adds exp(sink) to the denominator of every row; [n], accumulate type. At most once, after all parts.
  void add_sink(const at::Tensor& sink);

  // Contiguous: out in the type of the result, zeros where nothing was merged; lse in the accumulate type, -inf where
  // nothing was merged.
  struct Result {
    at::Tensor out, lse;
  };
  Result result();

 private:
  SoftmaxPart empty(at::ScalarType type) const;
  void fold();
  bool merge_into_first();

  at::Tensor q_;
  std::int64_t d_v_;
  at::ScalarType type_;
  std::vector<SoftmaxPart> parts_;  // merged a few at a time, so that memory is passed over once; the first may be the sum
  bool owned_ = false;              // whether parts_[0] is our own sum of all rows, which may be written
};

}  // namespace ringtron
