#include "ringtron/tools/demo/block_run.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "ringtron/base/check.h"
#include "ringtron/base/log.h"

namespace ringtron {
namespace {

double largest(const at::Tensor& tensor) { return tensor.abs().max().item<double>(); }

// The larger one, or NaN if either is: std::max may lose it.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

bool compare(const std::string& what, double difference, double size, double tolerance) {
  const bool right = std::isfinite(size) && difference <= tolerance * size;  // false for NaN
  print_line("  {:<28} largest value {:9.3e}   largest absolute difference {:9.3e}   {}", what, size, difference,
             right ? "PASS" : "FAIL");
  return right;
}

}  // namespace

bool same_block_runs(const BlockRun& got, const BlockRun& expected, double tolerance) {
  RT_CHECK_EQ(got.gradients.size(), expected.gradients.size(), "parameters of the block");
  bool right = compare("output", largest(got.out - expected.out), largest(expected.out), tolerance);
  right = compare("gradient of the input", largest(got.input_gradient - expected.input_gradient),
                  largest(expected.input_gradient), tolerance) &&
          right;
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    const auto& [name, gradient] = expected.gradients[i];
    RT_CHECK_EQ(got.gradients[i].first, name, "name of a parameter of the block");
    difference = larger(difference, largest(got.gradients[i].second - gradient));
    size = larger(size, largest(gradient));
  }
  return compare(fmt::format("gradients of {} parameters", expected.gradients.size()), difference, size, tolerance) &&
         right;
}

}  // namespace ringtron
