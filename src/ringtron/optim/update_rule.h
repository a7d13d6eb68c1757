// How an optimizer changes weights: what it keeps of each element beside the main weight, and one step.
//
// Optimizer owns the memory and the order of things; a rule knows neither buckets nor checkpoints. A new optimizer is a
// rule, its options in OptimizerOptions (optimizer.h) and a line in optimizer.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace ringtron {

struct OptimizerState;
struct ParameterSpec;

struct UpdateStep {
  double lr = 0.0;
  double weight_decay = 0.0;
  std::int64_t step = 1;      // 1 in the first step that changes weights
  at::Tensor gradient_scale;  // one element, on the parameters' device: the gradient is to be multiplied by it
  at::Tensor skip = {};       // fp32, one element there; 1 leaves weights and moments as they are; undefined: 0

  // `after`, or where the step is skipped `before`.
  at::Tensor unless_skipped(const at::Tensor& before, const at::Tensor& after) const;
  // The gradient times its scale, in its own type: a new tensor.
  at::Tensor scaled(const at::Tensor& gradient) const;
};

class UpdateRule {
 public:
  virtual ~UpdateRule() = default;

  // What is kept of each element, at most two: the names under which checkpoints hold them
  // ("optimizer.exp_avg.NAME"), in the order of OptimizerState::moment(). All begin as zero.
  virtual std::span<const std::string_view> moments() const = 0;

  // Whether it is this rule that updates a parameter; of several rules the first that says so.
  virtual bool takes(const ParameterSpec& parameter) const { return static_cast<void>(parameter), true; }

  // Whether an element's update depends on that element alone. Then any part of the states may be updated at a time,
  // and no rank asks another; else all of the rule's states in one call, collectively.
  virtual bool is_elementwise() const { return true; }

  // Changes main weights, with them the parameters, and moments. The gradients are of no use afterwards. The host does
  // not wait for a GPU.
  virtual void update(std::span<OptimizerState* const> states, const UpdateStep& step) const = 0;
};

}  // namespace ringtron
