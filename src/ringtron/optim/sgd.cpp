#include "ringtron/optim/sgd.h"

#include <ATen/ATen.h>

#include "ringtron/optim/optimizer.h"

namespace ringtron {

std::span<const std::string_view> SgdRule::moments() const {
  static constexpr std::string_view kNames[] = {"momentum_buffer"};
  return kNames;
}

void SgdRule::update(std::span<OptimizerState* const> states, const UpdateStep& step) const {
  for (OptimizerState* s : states) {
    const at::Tensor main = s->main(), before = s->moment(0);
    at::Tensor change = step.scaled(s->part_of(s->parameter->gradient));
    if (s->decays) change.add_(main, step.weight_decay);
    change.add_(before, options_.momentum);
    s->set_main(step.unless_skipped(main, main.sub(change, step.lr)));
    before.copy_(step.unless_skipped(before, change));
  }
}

}  // namespace ringtron
