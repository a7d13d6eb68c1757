#include "ringtron/kernels/softmax_merge/softmax_merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/softmax_merge/softmax_merge_params.h"

namespace ringtron {
namespace {

// exp(part - whole), 0 where both are -inf; [b, n, s] -> [s, b, n, 1].
at::Tensor weight(const at::Tensor& part, const at::Tensor& whole) {
  return (part - whole).exp_().masked_fill_(whole.isneginf(), 0.0).permute({2, 0, 1}).unsqueeze(-1);
}

bool covers_all(const SoftmaxPart& part, const SoftmaxPart& whole) { return part.out.size(0) == whole.out.size(0); }

void merge_composed(SoftmaxPart& whole, std::span<const SoftmaxPart> parts) {
  const at::ScalarType wide = whole.lse.scalar_type();
  at::Tensor out, lse;
  if (!parts.empty() && covers_all(parts[0], whole)) {
    out = parts[0].out.to(wide);
    lse = parts[0].lse;
    if (!whole.lse.is_same(lse)) lse = lse.clone();
    if (out.is_same(parts[0].out) && !whole.out.is_same(out)) out = out.clone();
    parts = parts.subspan(1);
  } else {
    out = at::zeros(whole.out.sizes(), whole.out.options().dtype(wide));
    lse = at::full(whole.lse.sizes(), -std::numeric_limits<double>::infinity(), whole.lse.options());
  }
  for (const SoftmaxPart& part : parts) {
    const std::int64_t rows = part.out.size(0);
    at::Tensor out_rows = out.narrow(0, part.first_row, rows), lse_rows = lse.narrow(2, part.first_row, rows);
    softmax_merge(out_rows, lse_rows, part.out, part.lse);
  }
  if (!whole.out.is_same(out)) whole.out.copy_(out);
  if (!whole.lse.is_same(lse)) whole.lse.copy_(lse);
}

constexpr std::int64_t kVector = 8;  // elements that a thread moves at once

bool fits(const at::Tensor& out) {
  bool fits = element_of(out).has_value() && out.size(3) % kVector == 0 && out.stride(3) == 1 &&
              reinterpret_cast<std::uintptr_t>(out.const_data_ptr()) % 16 == 0;
  for (int dim = 0; dim < 3; ++dim) fits = fits && (out.size(dim) == 1 || out.stride(dim) % kVector == 0);
  return fits;
}

SoftmaxMergePart described(const SoftmaxPart& part) {
  return {const_cast<void*>(part.out.const_data_ptr()),  // read only, unless it is the whole
          const_cast<float*>(part.lse.const_data_ptr<float>()),
          *element_of(part.out),
          part.out.stride(0),
          part.out.stride(1),
          part.out.stride(2),
          part.lse.stride(0),
          part.lse.stride(1),
          part.lse.stride(2),
          part.first_row,
          part.out.size(0)};
}

bool merged_by_kernel(SoftmaxPart& whole, std::span<const SoftmaxPart> parts) {
  const auto usable = [](const SoftmaxPart& part) { return part.lse.scalar_type() == at::kFloat && fits(part.out); };
  constexpr std::int64_t kMostHeads = 2048;  // a row's weights lie in shared memory
  if (!whole.out.is_cuda() || whole.out.size(2) > kMostHeads || !usable(whole) ||
      !std::all_of(parts.begin(), parts.end(), usable))
    return false;
  SoftmaxMergeParams params{};
  params.whole = described(whole);
  for (const SoftmaxPart& part : parts) params.parts[params.count++] = described(part);
  params.rows = whole.out.size(0);
  params.samples = whole.out.size(1);
  params.heads = whole.out.size(2);
  params.size = whole.out.size(3);
  softmax_merge_cuda(params, current_cuda_stream());
  return true;
}

}  // namespace

void softmax_merge(at::Tensor& out, at::Tensor& lse, const at::Tensor& part_out, const at::Tensor& part_lse) {
  const at::Tensor whole = at::logaddexp(lse, part_lse);
  out.mul_(weight(lse, whole)).addcmul_(part_out.to(out.scalar_type()), weight(part_lse, whole));
  lse.copy_(whole);
}

void merge_parts(SoftmaxPart& whole, std::span<const SoftmaxPart> parts) {
  static_assert(kMostMerged == SoftmaxMergeParams::kMost);
  RT_CHECK_LE(parts.size(), kMostMerged, "attention results of one merge");
  for (const SoftmaxPart& part : parts) {
    RT_CHECK(part.first_row >= 0 && part.first_row + part.out.size(0) <= whole.out.size(0),
             "rows {} to {} of an attention result of {}", part.first_row, part.first_row + part.out.size(0),
             whole.out.size(0));
  }
  if (!merged_by_kernel(whole, parts)) merge_composed(whole, parts);
}

}  // namespace ringtron
