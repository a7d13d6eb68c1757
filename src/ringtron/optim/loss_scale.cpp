#include "ringtron/optim/loss_scale.h"

#include <ATen/ATen.h>

namespace ringtron {
namespace {

constexpr double kGrowth = 2.0, kBackoff = 0.5;

at::Tensor on_device(const LossScaleState& state, at::Device device) {
  return at::tensor(
             {state.scale, static_cast<double>(state.growth_tracker), static_cast<double>(state.hysteresis_tracker)},
             at::TensorOptions().dtype(at::kDouble))
      .to(device);
}

}  // namespace

LossScale::LossScale(const LossScaleOptions& options, at::Device device)
    : options_(options), state_(on_device({options.initial, 0, options.hysteresis}, device)) {}

at::Tensor LossScale::scale() const { return state_.select(0, 0); }

void LossScale::update(const at::Tensor& overflow) {
  if (!options_.dynamic) return;
  const at::NoGradGuard no_grad;
  const at::Tensor bad = overflow.reshape({}).ne(0);
  const at::Tensor scale = state_[0], good_steps = state_[1] + 1, left = state_[2] - 1;
  const at::Tensor grows = good_steps.ge(options_.window);
  const at::Tensor halved = at::where(left.le(0), (scale * kBackoff).clamp_min(options_.smallest), scale);
  const at::Tensor after_overflow = at::stack({halved, at::zeros_like(scale), left});
  const at::Tensor after_growth =
      at::stack({scale * kGrowth, at::zeros_like(scale), at::full_like(scale, options_.hysteresis)});
  const at::Tensor after_good = at::stack({scale, good_steps, state_[2]});
  state_ = at::where(bad, after_overflow, at::where(grows, after_growth, after_good));
}

LossScaleState LossScale::state() const {
  const at::Tensor host = state_.cpu();
  const double* const numbers = host.const_data_ptr<double>();
  return {numbers[0], static_cast<std::int64_t>(numbers[1]), static_cast<std::int64_t>(numbers[2])};
}

void LossScale::set_state(const LossScaleState& state) {
  if (options_.dynamic) state_ = on_device(state, state_.device());
}

}  // namespace ringtron
