// Finds the place of the largest difference.
#include "tests/support/tensor_near.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <vector>

namespace ringtron::testing {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

std::string place(const at::Tensor& like, std::int64_t flat) {
  std::vector<std::int64_t> index(like.dim());
  for (std::int64_t dim = like.dim() - 1; dim >= 0; --dim) {
    index[dim] = flat % like.size(dim);
    flat /= like.size(dim);
  }
  return fmt::format("[{}]", fmt::join(index, ", "));
}

AssertionResult same_shape(const at::Tensor& got, const at::Tensor& expected) {
  if (!got.defined() || !expected.defined()) return AssertionFailure() << "a tensor is undefined";
  if (got.sizes() == expected.sizes()) return AssertionSuccess();
  return AssertionFailure() << fmt::format("expected shape [{}], got [{}]", fmt::join(expected.sizes(), ", "),
                                           fmt::join(got.sizes(), ", "));
}

}  // namespace

AssertionResult tensor_near(const at::Tensor& got, const at::Tensor& expected, double relative_tolerance) {
  if (AssertionResult shape = same_shape(got, expected); !shape) return shape;
  if (expected.numel() == 0) return AssertionSuccess();
  const at::Tensor a = got.detach().to(at::kCPU, at::kDouble).contiguous().view({-1});
  const at::Tensor b = expected.detach().to(at::kCPU, at::kDouble).contiguous().view({-1});
  const at::Tensor difference = (a - b).abs();  // NaN for NaN on either side and for equal infinities
  const std::int64_t worst = difference.argmax().item<std::int64_t>();  // argmax counts NaN as largest
  const double error = difference[worst].item<double>();
  const double scale = b.abs().max().item<double>();
  const double allowed = relative_tolerance * (scale == 0 ? 1.0 : scale);
  if (error <= allowed) return AssertionSuccess();
  return AssertionFailure() << fmt::format(
             "largest difference {:.6g} at {} (expected {:.17g}, got {:.17g}); allowed {:.3g} = {:.3g} x "
             "largest "
             "expected {:.6g}; {} of {} elements differ by more ",
             error, place(expected, worst), b[worst].item<double>(), a[worst].item<double>(), allowed,
             relative_tolerance, scale, difference.le(allowed).logical_not().sum().item<std::int64_t>(), a.numel());
}

AssertionResult tensor_equal(const at::Tensor& got, const at::Tensor& expected) {
  if (AssertionResult shape = same_shape(got, expected); !shape) return shape;
  if (got.scalar_type() != expected.scalar_type()) {
    return AssertionFailure() << fmt::format("expected type {}, got {}", c10::toString(expected.scalar_type()),
                                             c10::toString(got.scalar_type()));
  }
  const at::Tensor a = got.detach().cpu().contiguous();
  const at::Tensor b = expected.detach().cpu().contiguous();
  const std::size_t width = a.element_size();
  const auto* left = static_cast<const char*>(a.const_data_ptr());
  const auto* right = static_cast<const char*>(b.const_data_ptr());
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    if (std::memcmp(left + i * width, right + i * width, width) == 0) continue;
    return AssertionFailure() << fmt::format("first different bits at {}: expected {:.17g}, got {:.17g} ", place(b, i),
                                             b.view({-1})[i].item<double>(), a.view({-1})[i].item<double>());
  }
  return AssertionSuccess();
}

}  // namespace ringtron::testing
