// Main weights, moments and the step over them. See optimizer.h.
#include "ringtron/optim/optimizer.h"

#include <ATen/ATen.h>

#include <string>

#include "ringtron/base/check.h"
#include "ringtron/parameter/initialize.h"

namespace ringtron {
namespace {

bool decays(const Parameter& parameter) {
  return !parameter.name.ends_with(".bias") && parameter.shard.global_shape.size() != 1;
}

OptimizerState make_state(Parameter* parameter) {
  const at::Tensor value = parameter->value.detach();
  const bool own_main = value.scalar_type() != at::kFloat && value.scalar_type() != at::kDouble;
  const at::Tensor main = own_main ? at::empty_like(value, value.options().dtype(at::kFloat)) : value;
  const OptimizerState state{parameter, main, at::empty_like(main), at::empty_like(main), decays(*parameter)};
  for (const at::Tensor& tensor : {main, state.exp_avg, state.exp_avg_sq}) zero_padding(*parameter, tensor);
  return state;
}

}  // namespace

Optimizer::Optimizer(const ParameterList& parameters, AdamOptions options, InitialValues values) : options_(options) {
  for (Parameter* parameter : parameters) states_.push_back(make_state(parameter));
  if (values == InitialValues::drawn) restart_from_parameters();
}

void Optimizer::step(double lr, double weight_decay, const at::Tensor& gradient_scale, const at::Tensor& skip) {
  ++step_count_;
  for (const bool group_decays : {true, false}) {
    std::vector<AdamTensors> group;
    for (const OptimizerState& s : states_) {
      if (s.decays != group_decays) continue;
      RT_CHECK(s.parameter->gradient.defined(), "optimizer step: parameter {} has no gradient",
               s.parameter->name);
      group.push_back({s.main, s.parameter->gradient, s.exp_avg, s.exp_avg_sq});
    }
    adamw(group, options_, {lr, group_decays ? weight_decay : 0.0, step_count_}, gradient_scale, skip);
  }
  copy_main_to_parameters();
}

OptimizerState& Optimizer::state(std::string_view parameter_name) {
  for (OptimizerState& s : states_)
    if (s.parameter->name == parameter_name) return s;
  RT_CHECK(false, "optimizer state: expected the name of a parameter, got '{}'", parameter_name);
}

void Optimizer::copy_main_to_parameters() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> values, mains;
  for (const OptimizerState& s : states_) {
    if (s.main.is_alias_of(s.parameter->value)) continue;
    values.push_back(s.parameter->value.detach());
    mains.push_back(s.main);
  }
  if (!values.empty()) at::_foreach_copy_(values, mains);
}

void Optimizer::restart_from_parameters() {
  const at::NoGradGuard no_grad;
  for (OptimizerState& s : states_) {
    if (!s.main.is_alias_of(s.parameter->value)) s.main.copy_(s.parameter->value);
    s.exp_avg.zero_();
    s.exp_avg_sq.zero_();
  }
  step_count_ = 0;
}

}  // namespace ringtron
