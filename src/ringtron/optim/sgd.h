// SGD with momentum, as torch.optim.SGD and Apex' FusedSGD do it: weight decay is part of the gradient.
//
// With g = gradient * gradient_scale, in the type of the main weight x:
//   b = momentum b + g + weight_decay x;  x -= lr b
#pragma once

#include "ringtron/optim/update_rule.h"

namespace ringtron {

struct SgdOptions {
  double momentum = 0.9;
};

class SgdRule final : public UpdateRule {
 public:
  explicit SgdRule(SgdOptions options) : options_(options) {}
  std::span<const std::string_view> moments() const override;
  void update(std::span<OptimizerState* const> states, const UpdateStep& step) const override;

 private:
  SgdOptions options_;
};

}  // namespace ringtron
