// Main weights, moments and the step over them. See optimizer.h.
#include "ringtron/optim/optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "ringtron/base/check.h"
#include "ringtron/optim/adam_rule.h"
#include "ringtron/optim/main_weight.h"
#include "ringtron/parameter/initialize.h"
#include "ringtron/parameter/parameter_kind.h"

namespace ringtron {
namespace {

bool decays(const Parameter& parameter) {
  return !parameter.name.ends_with(".bias") && parameter.shard.global_shape.size() != 1;
}

// Without the values of the gaps between parameters.
at::Tensor flat_buffer(std::int64_t elements, const at::Tensor& like, at::ScalarType type) {
  return at::empty({elements}, at::TensorOptions().dtype(type).device(like.device()));
}

// Where second moments lie: if all parts have one, as the first do, else one after the other.
struct SecondMoments {
  std::vector<std::int64_t> offsets;  // of each part; -1: it has none
  std::int64_t elements = 0;

  template <class Has>
  SecondMoments(const std::vector<OwnedPart>& parts, std::int64_t elements_of_first, Has has) {
    const bool all = std::ranges::all_of(parts, has);
    for (const OwnedPart& part : parts) {
      offsets.push_back(all ? part.offset : has(part) ? elements : -1);
      if (offsets.back() >= 0) elements += BucketPlan::aligned(part.elements.size());
    }
    if (all) elements = elements_of_first;
  }
};

std::vector<std::int64_t> sizes_of(const ParameterList& parameters) {
  std::vector<std::int64_t> sizes;
  for (const Parameter* parameter : parameters) {
    const at::Tensor& value = parameter->value;
    const at::Tensor& first = parameters.front()->value;
    RT_CHECK(value.scalar_type() == first.scalar_type() && value.device() == first.device(),
             "optimizer: expected {} of the type and on the device of {}", parameter->name, parameters.front()->name);
    sizes.push_back(value.numel());
  }
  return sizes;
}

using Rules = std::vector<std::unique_ptr<UpdateRule>>;

// The rules of an optimizer, in the order in which they are asked for a parameter.
struct MakeRules {
  const ParameterList& parameters;
  const BucketPlan& plan;

  template <class... Rule>
  static Rules list(std::unique_ptr<Rule>... rules) {
    Rules out;
    (out.push_back(std::move(rules)), ...);
    return out;
  }
  Rules operator()(const AdamOptions& o) const { return list(std::make_unique<AdamRule>(o)); }
  Rules operator()(const SgdOptions& o) const { return list(std::make_unique<SgdRule>(o)); }
  Rules operator()(const MuonSetup& o) const {
    return list(std::make_unique<MuonRule>(parameters, plan, o), std::make_unique<AdamRule>(o.options.others));
  }
};

}  // namespace

at::Tensor OptimizerState::part_of(const at::Tensor& tensor) const {
  return is_whole() ? tensor : tensor.view(-1).narrow(0, elements.begin, elements.size());
}

at::Tensor OptimizerState::main() const {
  const at::Tensor value = part_of(parameter->value.detach());
  if (whole.defined()) return whole.clone();
  return lower.defined() ? join_halves(value, lower) : value;
}

void OptimizerState::set_main(const at::Tensor& main) {
  const at::Tensor value = part_of(parameter->value.detach());
  if (whole.defined()) whole.copy_(main);
  if (lower.defined())
    split_into_halves(main, value, lower);
  else
    value.copy_(main);
}

Optimizer::Optimizer(const ParameterList& parameters, const BucketPlan& plan, const OptimizerOptions& options,
                     InitialValues values, std::span<const ElementRange> owned)
    : rules_(std::visit(MakeRules{parameters, plan}, options)) {
  if (parameters.empty()) return;
  const std::vector<std::int64_t> sizes = sizes_of(parameters);
  const std::vector<ElementRange> all = bucket_shards(plan, 0, 1);
  if (owned.empty()) owned = all;
  std::int64_t elements = 0;
  for (const ElementRange& range : owned) elements += range.size();
  const at::Tensor& first = parameters.front()->value;
  const bool bf16 = first.scalar_type() == at::kBFloat16, fp16 = first.scalar_type() == at::kHalf;
  RT_CHECK(bf16 || fp16 || first.scalar_type() == at::kFloat || first.scalar_type() == at::kDouble,
           "optimizer: expected parameters in bf16, fp16, fp32 or fp64, got {}", at::toString(first.scalar_type()));
  const at::ScalarType type = bf16 || fp16 ? at::kFloat : first.scalar_type();
  const at::Tensor lower = bf16 ? flat_buffer(elements, first, at::kShort) : at::Tensor();
  const at::Tensor whole = fp16 ? flat_buffer(elements, first, at::kFloat) : at::Tensor();
  const std::vector<OwnedPart> parts = owned_parts(plan, sizes, owned);
  const SecondMoments seconds(parts, elements, [&](const OwnedPart& part) {
    return moments_of(*parameters[static_cast<std::size_t>(part.parameter)]).size() == 2;
  });
  const at::Tensor exp_avg = flat_buffer(elements, first, type);
  const at::Tensor exp_avg_sq = flat_buffer(seconds.elements, first, type);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const OwnedPart& part = parts[i];
    Parameter* parameter = parameters[static_cast<std::size_t>(part.parameter)];
    OptimizerState state{
        parameter, part.elements, {}, {}, {}, {}, decays(*parameter), is_decoupled(*parameter), &rule_of(*parameter)};
    const at::Tensor value = state.part_of(parameter->value.detach());
    const auto view = [&](const at::Tensor& flat, std::int64_t offset) {
      return flat.narrow(0, offset, part.elements.size()).view(value.sizes());
    };
    if (bf16) state.lower = view(lower, part.offset);
    if (fp16) state.whole = view(whole, part.offset);
    state.exp_avg = view(exp_avg, part.offset);
    if (seconds.offsets[i] >= 0) state.exp_avg_sq = view(exp_avg_sq, seconds.offsets[i]);
    // Of a part nobody asks which elements are padding: all begin as zero.
    for (const at::Tensor& tensor : {state.lower, state.whole, state.exp_avg, state.exp_avg_sq}) {
      if (!tensor.defined()) continue;
      if (state.is_whole())
        zero_padding(*parameter, tensor);
      else
        tensor.zero_();
    }
    if (state.is_whole()) zero_padding(*parameter, value);
    states_.push_back(std::move(state));
  }
  if (values == InitialValues::drawn) restart_from_parameters();
}

void Optimizer::step(const LearningRates& rates, double weight_decay, const at::Tensor& gradient_scale,
                     const at::Tensor& skip) {
  const at::NoGradGuard no_grad;
  ++step_count_;
  for (const auto& rule : rules_) {
    std::vector<OptimizerState*> states, decoupled;
    for (OptimizerState& s : states_) {
      if (s.rule != rule.get()) continue;
      RT_CHECK(s.parameter->gradient.defined(), "optimizer step: parameter {} has no gradient", s.parameter->name);
      (rates.decoupled && s.is_decoupled ? decoupled : states).push_back(&s);
    }
    UpdateStep step{rates.lr, weight_decay, step_count_ - skipped_count_, gradient_scale, skip};
    rule->update(states, step);  // also of none: another rank's may be asked for
    if (decoupled.empty()) continue;
    step.lr = *rates.decoupled;
    rule->update(decoupled, step);
  }
}

const UpdateRule& Optimizer::rule_of(const ParameterSpec& parameter) const {
  const auto rule = std::ranges::find_if(rules_, [&](const auto& r) { return r->takes(parameter); });
  RT_CHECK(rule != rules_.end(), "optimizer: no rule for {}", parameter.name);
  return **rule;
}

std::span<const std::string_view> Optimizer::moments_of(const ParameterSpec& parameter) const {
  return rule_of(parameter).moments();
}

OptimizerState& Optimizer::state(std::string_view parameter_name) {
  for (OptimizerState& s : states_)
    if (s.parameter->name == parameter_name) return s;
  RT_CHECK(false, "optimizer state: expected the name of a parameter, got '{}'", parameter_name);
}

void Optimizer::restart_from_parameters() {
  const at::NoGradGuard no_grad;
  for (OptimizerState& s : states_) {
    if (s.lower.defined()) s.lower.zero_();
    if (s.whole.defined()) s.whole.copy_(s.part_of(s.parameter->value.detach()));
    s.exp_avg.zero_();
    if (s.exp_avg_sq.defined()) s.exp_avg_sq.zero_();
  }
  step_count_ = skipped_count_ = 0;
}

}  // namespace ringtron
