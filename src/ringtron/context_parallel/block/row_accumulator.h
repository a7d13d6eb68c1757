// A result that grows part by part, each part over some rows of a whole: a plain sum (gradients), or a softmax-weighted
// mean of attention outputs over disjoint keys (kernels/softmax_merge.h), whose parts come with their log-sum-exp.
//
// Parts wait in the type they came in and are added a few at a time, so that memory is passed over once rather than
// once for each part. Computed in the accumulate type (fp32; fp64 for fp64) and rounded once at the end; in the order
// of add(), on which the bits depend. Parts are taken over: they may be written, and must not be written by others. Not
// thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

class RowAccumulator {
 public:
  enum class Kind { sum, softmax };

  // Of `rows` rows shaped as those of `like` [any, b, heads, d], on its device, accumulated in `type`.
  RowAccumulator(Kind kind, const at::Tensor& like, std::int64_t rows, at::ScalarType type);

  // x: [rows.length(), b, heads, d], of one sample [rows.length(), 1, heads, d]; lse: [b, heads, rows.length()],
  // softmax only. `sample` -1: all.
  void add(const PositionRange& rows, int sample, const at::Tensor& x, const at::Tensor& lse = {});

  // Softmax: adds exp(sink) to the denominator of every row; [heads], accumulate type. At most once, after all parts.
  void add_sink(const at::Tensor& sink);

  struct Result {
    at::Tensor x;    // contiguous, rounded once to the type asked for; zeros where nothing was added
    at::Tensor lse;  // softmax: accumulate type, -inf where nothing was added
  };
  // May be a part itself, so it is not to be written, and nothing is to be added after it.
  Result result(at::ScalarType type);

  // Sum: these rows, one range below another, of the accumulate type.
  at::Tensor rows(std::span<const PositionRange> ranges);

 private:
  struct Part {
    at::Tensor x, lse;
    std::int64_t first_row = 0;
  };

  Part empty(std::int64_t rows, at::ScalarType type) const;
  // `whole` becomes the parts added up, over its rows.
  void combine(Part& whole, std::span<const Part> parts) const;
  void fold();
  bool add_rest_to_first(at::ScalarType type);

  Kind kind_;
  at::Tensor like_;  // no rows, of the accumulate type
  std::int64_t rows_;
  std::vector<Part> parts_;
  bool owned_ = false;  // parts_[0] is a sum of our own over all rows
};

}  // namespace ringtron
