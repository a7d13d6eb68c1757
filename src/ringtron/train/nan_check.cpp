#include "ringtron/train/nan_check.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/base/error.h"

namespace ringtron {

NanCheck::NanCheck(at::Device device)
    : first_bad_(at::zeros({4}, at::TensorOptions(device).dtype(at::kDouble))),
      skip_(at::zeros({1}, at::TensorOptions(device).dtype(at::kFloat))) {}

at::Tensor NanCheck::note(std::int64_t iteration, std::int64_t first_sample, const at::Tensor& loss,
                          const at::Tensor& norm) {
  const at::NoGradGuard no_grad;
  const at::Tensor numbers = at::stack({loss.reshape({}).to(at::kDouble), norm.reshape({}).to(at::kDouble)});
  const at::Tensor bad = at::isfinite(numbers).all().logical_not();
  const at::Tensor when = at::full({2}, static_cast<double>(iteration), numbers.options());
  when.select(0, 1).fill_(static_cast<double>(first_sample));
  const at::Tensor is_first = bad.logical_and(skip_.eq(0.0));
  first_bad_ = at::where(is_first, at::cat({when, numbers}), first_bad_);
  skip_ = at::maximum(skip_, bad.to(at::kFloat).view({1}));
  return skip_;
}

void NanCheck::require_finite() const {
  const at::Tensor first = first_bad_.cpu();
  const double* const bad = first.const_data_ptr<double>();
  if (bad[0] == 0.0) return;
  throw NumericError(
      fmt::format("iteration {:.0f}: expected finite numbers, got loss {} and gradient norm {}. The weights are "
                  "as before this iteration and no checkpoint has been written since; resume from the last "
                  "one with a lower learning rate, or look at the samples from {:.0f} on",
                  bad[0], bad[2], bad[3], bad[1]));
}

}  // namespace ringtron
