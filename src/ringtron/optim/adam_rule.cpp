#include "ringtron/optim/adam_rule.h"

#include <ATen/ATen.h>

#include <vector>

#include "ringtron/optim/optimizer.h"

namespace ringtron {

std::span<const std::string_view> AdamRule::moments() const {
  static constexpr std::string_view kNames[] = {"exp_avg", "exp_avg_sq"};
  return kNames;
}

void AdamRule::update(std::span<OptimizerState* const> states, const UpdateStep& step) const {
  std::vector<AdamTensors> tensors;
  std::vector<at::Tensor> values, mains;  // of fp16
  for (const OptimizerState* s : states) {
    const at::Tensor value = s->part_of(s->parameter->value.detach());
    tensors.push_back({s->whole.defined() ? s->whole : value, s->part_of(s->parameter->gradient), s->exp_avg,
                       s->exp_avg_sq, s->lower, s->decays});
    if (!s->whole.defined()) continue;
    values.push_back(value);
    mains.push_back(s->whole);
  }
  adamw(tensors, options_, {step.lr, step.weight_decay, step.step}, step.gradient_scale, step.skip);
  if (!values.empty()) at::_foreach_copy_(values, mains);  // after a skipped step: what is there already
}

}  // namespace ringtron
