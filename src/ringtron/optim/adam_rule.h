// AdamW (adam.h) as the rule of an optimizer.
#pragma once

#include "ringtron/optim/adam.h"
#include "ringtron/optim/update_rule.h"

namespace ringtron {

class AdamRule final : public UpdateRule {
 public:
  explicit AdamRule(AdamOptions options) : options_(options) {}
  std::span<const std::string_view> moments() const override;
  void update(std::span<OptimizerState* const> states, const UpdateStep& step) const override;

 private:
  AdamOptions options_;
};

}  // namespace ringtron
