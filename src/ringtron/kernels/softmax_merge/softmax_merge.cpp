#include "ringtron/kernels/softmax_merge/softmax_merge.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/softmax_merge/softmax_merge_params.h"

#ifdef RINGTRON_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

namespace ringtron {
namespace {

// exp(part - whole), 0 where both are -inf; [b, n, s] -> [s, b, n, 1].
at::Tensor weight(const at::Tensor& part, const at::Tensor& whole) {
  return (part - whole).exp_().masked_fill_(whole.isneginf(), 0.0).permute({2, 0, 1}).unsqueeze(-1);
}

void merge_composed(SoftmaxPart& whole, const SoftmaxPart& a, const SoftmaxPart& b) {
  const at::ScalarType wide = a.lse.scalar_type();
  at::Tensor out = a.out.to(wide), lse = a.lse;
  if (!whole.lse.is_same(lse)) lse = lse.clone();
  if (out.is_same(a.out) && !whole.out.is_same(out)) out = out.clone();
  const std::int64_t rows = b.out.size(0);
  at::Tensor out_rows = out.narrow(0, b.first_row, rows), lse_rows = lse.narrow(2, b.first_row, rows);
  softmax_merge(out_rows, lse_rows, b.out, b.lse);
  if (!whole.out.is_same(out)) whole.out.copy_(out);
  if (!whole.lse.is_same(lse)) whole.lse.copy_(lse);
}

#ifdef RINGTRON_CUDA

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
          part.lse.stride(2)};
}

bool merged_by_kernel(SoftmaxPart& whole, const SoftmaxPart& a, const SoftmaxPart& b) {
  if (!whole.out.is_cuda() || whole.lse.scalar_type() != at::kFloat || a.lse.scalar_type() != at::kFloat ||
      b.lse.scalar_type() != at::kFloat || !fits(whole.out) || !fits(a.out) || !fits(b.out)) {
    return false;
  }
  SoftmaxMergeParams params{described(whole),  described(a),      described(b),      b.first_row,      b.out.size(0),
                            whole.out.size(0), whole.out.size(1), whole.out.size(2), whole.out.size(3)};
  softmax_merge_cuda(params, c10::cuda::getCurrentCUDAStream().stream());
  return true;
}

#else

bool merged_by_kernel(SoftmaxPart&, const SoftmaxPart&, const SoftmaxPart&) { return false; }

#endif

}  // namespace

void softmax_merge(at::Tensor& out, at::Tensor& lse, const at::Tensor& part_out, const at::Tensor& part_lse) {
  const at::Tensor whole = at::logaddexp(lse, part_lse);
  out.mul_(weight(lse, whole)).addcmul_(part_out.to(out.scalar_type()), weight(part_lse, whole));
  lse.copy_(whole);
}

void merge_parts(SoftmaxPart& whole, const SoftmaxPart& a, const SoftmaxPart& b) {
  RT_CHECK(a.out.sizes() == whole.out.sizes(), "the first of two attention results must cover all rows");
  RT_CHECK(b.first_row >= 0 && b.first_row + b.out.size(0) <= whole.out.size(0), "rows {} to {} of an attention result of {}",
           b.first_row, b.first_row + b.out.size(0), whole.out.size(0));
  if (!merged_by_kernel(whole, a, b)) merge_composed(whole, a, b);
}

}  // namespace ringtron
