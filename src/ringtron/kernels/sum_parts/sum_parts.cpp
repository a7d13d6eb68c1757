#include "ringtron/kernels/sum_parts/sum_parts.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/sum_parts/sum_parts_params.h"

namespace ringtron {
namespace {

// Rows of the sum that a part adds to.
struct Overlap {
  std::int64_t begin, end;
};

Overlap overlap_of(const at::Tensor& sum, std::int64_t first_row, const RowPart& part) {
  const std::int64_t begin = std::max<std::int64_t>(part.first_row - first_row, 0);
  const std::int64_t end = std::min(part.first_row + part.x.size(0) - first_row, sum.size(0));
  return {begin, std::max(begin, end)};
}

void sum_composed(at::Tensor& sum, std::int64_t first_row, std::span<const RowPart> parts) {
  const at::ScalarType wide = sum.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  // A sum that is its own first part goes on from what it holds.
  const bool in_place = !parts.empty() && parts[0].x.is_same(sum) && sum.scalar_type() == wide;
  at::Tensor total = in_place ? sum : at::zeros(sum.sizes(), sum.options().dtype(wide));
  for (const RowPart& part : parts.subspan(in_place ? 1 : 0)) {
    const Overlap rows = overlap_of(sum, first_row, part);
    if (rows.begin == rows.end) continue;
    const at::Tensor x = part.x.narrow(0, first_row + rows.begin - part.first_row, rows.end - rows.begin);
    total.narrow(0, rows.begin, rows.end - rows.begin).add_(x);
  }
  if (!in_place) sum.copy_(total);
}

bool aligned(const at::Tensor& x) { return reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0; }

bool summed_by_kernel(at::Tensor& sum, std::int64_t first_row, std::span<const RowPart> parts) {
  const std::int64_t row = sum.size(0) == 0 ? 0 : sum.numel() / sum.size(0);
  if (!sum.is_cuda() || !element_of(sum) || row % 8 != 0 || !aligned(sum)) return false;
  SumPartsParams params{};
  for (const RowPart& part : parts) {
    if (!element_of(part.x) || !aligned(part.x)) return false;
    const Overlap rows = overlap_of(sum, first_row, part);
    params.parts[params.count++] = {part.x.const_data_ptr(), *element_of(part.x), rows.begin * row, rows.end * row,
                                    (first_row + rows.begin - part.first_row) * row};
  }
  params.sum = sum.mutable_data_ptr();
  params.type = *element_of(sum);
  params.elements = sum.numel();
  sum_parts_cuda(params, current_cuda_stream());
  return true;
}

}  // namespace

void sum_parts(at::Tensor& sum, std::int64_t first_row, std::span<const RowPart> parts) {
  static_assert(kMostSummed == SumPartsParams::kMost);
  RT_CHECK_LE(parts.size(), kMostSummed, "parts of one sum");
  RT_CHECK(sum.is_contiguous(), "a sum of parts must be contiguous");
  for (const RowPart& part : parts) RT_CHECK(part.x.is_contiguous(), "parts of a sum must be contiguous");
  if (!summed_by_kernel(sum, first_row, parts)) sum_composed(sum, first_row, parts);
}

}  // namespace ringtron
