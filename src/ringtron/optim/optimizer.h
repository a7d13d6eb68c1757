// Parameters and their gradients to better parameters; owner of the optimizer state.
//
// Main weights: an fp32 or fp64 parameter is its own. Of a bf16 parameter the main weight is fp32 and kept in halves
// (kernels/adamw/weight_halves.h): the parameter is the upper, `lower` the rest, so it is always the parameter's value,
// unrounded. Of an fp16 parameter, whose bits are no part of an fp32 number's, it is an fp32 number beside it. exp_avg
// and exp_avg_sq have the main weight's type. Each of these is one flat buffer in the order of the gradients' buckets,
// so that a rank can own a range of each bucket (bucket_shards) and keep state of that alone. How weights change, and
// what of exp_avg and exp_avg_sq there is, says the rule of each parameter (update_rule.h). No weight decay for names
// ending in ".bias" and for parameters of one dim. No communication here, but for Muon's matrices
// (muon_rule.h): gradients are reduced before a step, and ranks that own ranges send each other what they have updated
// after it (GradientReducer::gather_values). Without a distributed optimizer every data- and context-parallel replica
// owns all and does the same step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "ringtron/optim/adam.h"
#include "ringtron/optim/learning_rates.h"
#include "ringtron/optim/muon_rule.h"
#include "ringtron/optim/sgd.h"
#include "ringtron/optim/update_rule.h"
#include "ringtron/parameter/bucket_plan.h"
#include "ringtron/parameter/parameter_store.h"

namespace ringtron {

// Of one parameter, or of the part of it that this rank owns: views into the flat buffers, of the parameter's shape
// where `elements` are all of it, else [elements.size()].
struct OptimizerState {
  Parameter* parameter = nullptr;
  ElementRange elements;  // of the parameter, row-major
  at::Tensor lower;       // int16, of a bf16 parameter; else undefined
  at::Tensor whole;       // fp32, of an fp16 parameter: the main weight; else undefined
  at::Tensor exp_avg;     // the first of the rule's moments, whatever it is
  at::Tensor exp_avg_sq;  // the second; undefined: the rule has one
  bool decays = true;
  bool is_decoupled = false;  // the word embedding's or the output layer's: LearningRates::decoupled counts
  const UpdateRule* rule = nullptr;

  bool is_whole() const { return elements.size() == parameter->value.numel(); }
  // The same elements of a tensor of the parameter's shape, such as its value or its gradient: a view.
  at::Tensor part_of(const at::Tensor& tensor) const;
  bool has_own_main() const { return lower.defined() || whole.defined(); }
  // fp32, a new tensor, where has_own_main(); else the parameter's own part.
  at::Tensor main() const;
  // Writes the main weight, and with it the parameter.
  void set_main(const at::Tensor& main);
  // In the order of UpdateRule::moments().
  const at::Tensor& moment(std::size_t index) const { return index == 0 ? exp_avg : exp_avg_sq; }
};

// By --optimizer.
using OptimizerOptions = std::variant<AdamOptions, SgdOptions, MuonSetup>;

class Optimizer {
 public:
  // The parameters hold their initial values, and outlive the optimizer; all are of one type and on one device. With
  // InitialValues::deferred they have none yet, and main weights and moments have no values but in padding rows, until
  // a loader writes them all or restart_from_parameters() is called. `plan` is that of the gradients' buffer; `owned`
  // are bucket_shards of it, or empty: this rank owns all.
  Optimizer(const ParameterList& parameters, const BucketPlan& plan, const OptimizerOptions& options,
            InitialValues values = InitialValues::drawn, std::span<const ElementRange> owned = {});

  // One step on Parameter::gradient times `gradient_scale` (one element, on the parameters' device); with `skip` 1 (see
  // UpdateStep) only the count goes on, and note_skipped() tells later that it was so, before the next step. The
  // gradients are of no use afterwards. InternalError if a parameter has no gradient of its main weight's type. With
  // Muon collective over the group of its setup.
  void step(const LearningRates& rates, double weight_decay, const at::Tensor& gradient_scale,
            const at::Tensor& skip = {});

  // For checkpoints, in the order of the parameters, without those of which this rank owns nothing. A loader writes
  // main weights and into the moments in place, and sets the step count.
  std::span<OptimizerState> states() { return states_; }
  OptimizerState& state(std::string_view parameter_name);  // InternalError if there is none
  // What is kept of a parameter, here or on another rank: see UpdateRule::moments().
  std::span<const std::string_view> moments_of(const ParameterSpec& parameter) const;
  std::int64_t step_count() const { return step_count_; }
  std::int64_t skipped_count() const { return skipped_count_; }  // of these: AdamW's t is what is left
  void set_step_count(std::int64_t count, std::int64_t skipped = 0) {
    step_count_ = count;
    skipped_count_ = skipped;
  }
  void note_skipped() { ++skipped_count_; }
  // Counts a step that is not made at all.
  void leave_out_step() { ++step_count_, ++skipped_count_; }

  // After weights came without optimizer state (--no-load-optim, --finetune): main weights anew from the
  // parameters, moments and step count zero.
  void restart_from_parameters();

 private:
  const UpdateRule& rule_of(const ParameterSpec& parameter) const;

  std::vector<std::unique_ptr<UpdateRule>> rules_;  // the second, if there is one, of all but hidden matrices
  std::vector<OptimizerState> states_;
  std::int64_t step_count_ = 0, skipped_count_ = 0;
};

}  // namespace ringtron
