// A sum of tensors that each cover some rows of a whole: gradients that come block by block.
//
// Parts wait in the type they came in and are added a few at a time, so that memory is passed over once rather than once
// for each part. Sums are in the accumulate type (fp32; fp64 for fp64); their order is that of add(), but a part of all
// rows may come first. Parts are
// taken over: the sum may write into them, others must not. Not thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/kernels/sum_parts/sum_parts.h"

namespace ringtron::internal {

class RowSum {
 public:
  // Of `rows` rows, each shaped as those of `like` [any, b, heads, d]; sums in `type`.
  RowSum(const at::Tensor& like, std::int64_t rows, at::ScalarType type);

  // part: [rows.length(), b, heads, d]. `scale`: a factor of it, fp32 [1] on its device, or undefined.
  void add(const PositionRange& rows, const at::Tensor& part, const at::Tensor& scale = {});
  // The same for one sample of the batch: part [rows.length(), 1, heads, d].
  void add_sample(const PositionRange& rows, int sample, const at::Tensor& part, const at::Tensor& scale = {});

  // Adds rows `ranges` of another sum, one below the other, to the rows from 0 on, without putting that sum together.
  void add_rows_of(RowSum& other, std::span<const PositionRange> ranges);

  // The sum of these rows, one range below the other, rounded once to `type`; zeros where nothing was added. Contiguous;
  // it may be a part itself, so it is not to be written.
  at::Tensor rows(std::span<const PositionRange> ranges, at::ScalarType type);
  at::Tensor all(at::ScalarType type);

  // The same in fp16, divided by `scale`: what the sum is before it is multiplied by the factor that its parts have in
  // common. One part that has all rows is given as it is.
  at::Tensor rows_unscaled(std::span<const PositionRange> ranges, const at::Tensor& scale);

 private:
  at::Tensor rows_of(std::span<const RowPart> parts, std::span<const PositionRange> ranges, at::ScalarType type) const;
  bool is_folded() const;
  void fold();
  bool add_into_whole_part(at::ScalarType type);

  std::int64_t rows_;
  at::Tensor like_;             // no rows, of the sum's type
  std::vector<RowPart> parts_;  // the first may be the sum so far
};

}  // namespace ringtron::internal
