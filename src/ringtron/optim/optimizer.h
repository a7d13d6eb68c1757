// Parameters and their gradients to better parameters; owner of the optimizer state.
//
// Main weights: an fp32 copy of each bf16 parameter; an fp32 or fp64 parameter is its own main weight (the
// tensors share storage). exp_avg and exp_avg_sq have the main weight's type. No weight decay for names
// ending in ".bias" and for parameters of one dim. Every data- and context-parallel replica does the same
// step on the same reduced gradients; no communication here.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ringtron/optim/adam.h"
#include "ringtron/parameter/parameter_store.h"

namespace ringtron {

struct OptimizerState {
  Parameter* parameter = nullptr;
  at::Tensor main;
  at::Tensor exp_avg;
  at::Tensor exp_avg_sq;
  bool decays = true;
};

class Optimizer {
 public:
  // The parameters hold their initial values, and outlive the optimizer. With InitialValues::waited_for they do not yet, and main
  // weights and moments have no values but in padding rows, until a loader writes them all or restart_from_parameters() is called.
  Optimizer(const ParameterList& parameters, AdamOptions options, InitialValues values = InitialValues::drawn);

  // One step on Parameter::gradient times `gradient_scale` (one element, on the parameters' device); with `skip` 1 (see
  // adamw) only the count goes on. The gradients are of no use afterwards. InternalError if a parameter has no gradient of
  // its main weight's type.
  void step(double lr, double weight_decay, const at::Tensor& gradient_scale, const at::Tensor& skip = {});

  // For checkpoints, in the order of the parameters. A loader writes into the tensors in place, sets the step
  // count, then calls copy_main_to_parameters().
  std::span<OptimizerState> states() { return states_; }
  OptimizerState& state(std::string_view parameter_name);  // InternalError if there is none
  std::int64_t step_count() const { return step_count_; }
  void set_step_count(std::int64_t count) { step_count_ = count; }
  void copy_main_to_parameters();

  // After weights came without optimizer state (--no-load-optim, --finetune): main weights anew from the
  // parameters, moments and step count zero.
  void restart_from_parameters();

 private:
  AdamOptions options_;
  std::vector<OptimizerState> states_;
  std::int64_t step_count_ = 0;
};

}  // namespace ringtron
