// Sums over all parameters of the model. See gradient_clip.h.
#include "ringtron/optim/gradient_clip.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/kernels/sum_of_squares/sum_of_squares.h"

namespace ringtron {
namespace {

// Partial sums cover a fixed number of elements, so the sum does not depend on the number of threads.
constexpr std::int64_t kBlock = 1 << 14;

template <class T>
double sum_of_squares(const T* x, std::int64_t count) {
  std::vector<double> partial((count + kBlock - 1) / kBlock, 0.0);
  at::parallel_for(0, static_cast<std::int64_t>(partial.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      double sum = 0.0;
      const std::int64_t stop = std::min(count, (block + 1) * kBlock);
      for (std::int64_t i = block * kBlock; i < stop; ++i) {
        const double value = static_cast<double>(x[i]);
        sum += value * value;
      }
      partial[block] = sum;
    }
  });
  double sum = 0.0;
  for (const double value : partial) sum += value;
  return sum;
}

double sum_of_squares_on_cpu(const at::Tensor& tensor) {
  const at::Tensor x = tensor.contiguous();
  if (x.scalar_type() == at::kDouble) return sum_of_squares(x.data_ptr<double>(), x.numel());
  if (x.scalar_type() == at::kFloat) return sum_of_squares(x.data_ptr<float>(), x.numel());
  const at::Tensor wide = x.to(at::kFloat);
  return sum_of_squares(wide.data_ptr<float>(), wide.numel());
}

// fp64, without dims, on `device`.
at::Tensor sum_of_squares(const std::vector<at::Tensor>& tensors, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kDouble).device(device);
  if (tensors.empty()) return at::zeros({}, options);
  if (device.is_cpu()) {
    double sum = 0.0;
    for (const at::Tensor& tensor : tensors) sum += sum_of_squares_on_cpu(tensor);
    return at::full({}, sum, options);
  }
  if (const auto sum = sum_of_squares_fused(tensors)) return *sum;
  const bool half = at::isReducedFloatingType(tensors.front().scalar_type());
  const auto type = half ? std::optional<at::ScalarType>(at::kFloat) : std::nullopt;
  return at::stack(at::_foreach_norm(tensors, 2, type)).to(at::kDouble).square().sum();
}

bool counts_here(const Parameter& parameter, int tensor_rank) {
  return !parameter.is_copy && (tensor_rank == 0 || parameter.is_sharded());
}

// Of the elements that count here.
std::vector<at::Tensor> gradients_of(std::span<const OptimizerState> states, int tensor_rank) {
  std::vector<at::Tensor> gradients;
  for (const OptimizerState& s : states) {
    if (!counts_here(*s.parameter, tensor_rank) || s.elements.size() == 0) continue;
    RT_CHECK(s.parameter->gradient.defined(), "gradient norm: parameter {} has no gradient", s.parameter->name);
    gradients.push_back(s.part_of(s.parameter->gradient));
  }
  return gradients;
}

at::Tensor summed_over(ModelGroup model, at::Tensor local) {
  model.group.all_reduce(local).wait();
  return local;
}

}  // namespace

ClippedScale clip_gradients(std::span<const OptimizerState> states, ModelGroup model, const at::Tensor& mean_scale,
                            double max_norm) {
  const at::NoGradGuard no_grad;
  const at::Tensor sum =
      summed_over(model, sum_of_squares(gradients_of(states, model.tensor_rank), mean_scale.device()));
  const at::Tensor mean = mean_scale.reshape({}).to(at::kDouble);
  const at::Tensor norm = sum.sqrt() * mean;
  if (max_norm <= 0.0) return {norm, mean};
  const at::Tensor coefficient = max_norm / (norm + 1e-6);
  // Neither NaN nor infinity may turn into a coefficient that hides it.
  const at::Tensor clips = (coefficient < 1.0).logical_and(at::isfinite(norm));
  return {norm, at::where(clips, mean * coefficient, mean)};
}

at::Tensor parameters_norm(const ParameterList& parameters, ModelGroup model) {
  const at::NoGradGuard no_grad;
  await_values(parameters);
  std::vector<at::Tensor> values;
  for (const Parameter* parameter : parameters) {
    if (counts_here(*parameter, model.tensor_rank) && parameter->value.numel() > 0)
      values.push_back(parameter->value.detach());
  }
  const at::Device device = parameters.empty() ? at::Device(at::kCPU) : parameters.front()->value.device();
  return summed_over(model, sum_of_squares(values, device)).sqrt();
}

at::Tensor count_zero_gradients(std::span<const OptimizerState> states, ModelGroup model, at::Device device) {
  const at::NoGradGuard no_grad;
  at::Tensor count = at::zeros({}, at::TensorOptions().dtype(at::kLong).device(device));
  for (const at::Tensor& gradient : gradients_of(states, model.tensor_rank)) count += gradient.eq(0).sum();
  return summed_over(model, count);
}

}  // namespace ringtron
