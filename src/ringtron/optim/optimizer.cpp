// Main weights, moments and the step over them. See optimizer.h.
#include "ringtron/optim/optimizer.h"

#include <ATen/ATen.h>

#include <string>

#include "ringtron/base/check.h"
#include "ringtron/optim/main_weight.h"
#include "ringtron/parameter/initialize.h"

namespace ringtron {
namespace {

bool decays(const Parameter& parameter) {
  return !parameter.name.ends_with(".bias") && parameter.shard.global_shape.size() != 1;
}

bool is_decoupled(const Parameter& parameter) {
  return parameter.name == "embedding.word_embeddings.weight" || parameter.name == "output_layer.weight";
}

// Without the values of the gaps between parameters.
at::Tensor flat_buffer(std::int64_t elements, const at::Tensor& like, at::ScalarType type) {
  return at::empty({elements}, at::TensorOptions().dtype(type).device(like.device()));
}

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

Optimizer::Optimizer(const ParameterList& parameters, const BucketPlan& plan, AdamOptions options, InitialValues values,
                     std::span<const ElementRange> owned)
    : options_(options) {
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
  const at::Tensor exp_avg = flat_buffer(elements, first, type), exp_avg_sq = flat_buffer(elements, first, type);
  for (const OwnedPart& part : owned_parts(plan, sizes, owned)) {
    Parameter* parameter = parameters[static_cast<std::size_t>(part.parameter)];
    OptimizerState state{parameter, part.elements, {}, {}, {}, {}, decays(*parameter), is_decoupled(*parameter)};
    const at::Tensor value = state.part_of(parameter->value.detach());
    const auto view = [&](const at::Tensor& flat) {
      return flat.narrow(0, part.offset, part.elements.size()).view(value.sizes());
    };
    if (bf16) state.lower = view(lower);
    if (fp16) state.whole = view(whole);
    state.exp_avg = view(exp_avg);
    state.exp_avg_sq = view(exp_avg_sq);
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
  std::vector<AdamTensors> tensors, decoupled;
  std::vector<at::Tensor> values, mains;  // of fp16
  for (const OptimizerState& s : states_) {
    RT_CHECK(s.parameter->gradient.defined(), "optimizer step: parameter {} has no gradient", s.parameter->name);
    const at::Tensor value = s.part_of(s.parameter->value.detach());
    (rates.decoupled && s.is_decoupled ? decoupled : tensors)
        .push_back({s.whole.defined() ? s.whole : value, s.part_of(s.parameter->gradient), s.exp_avg, s.exp_avg_sq,
                    s.lower, s.decays});
    if (!s.whole.defined()) continue;
    values.push_back(value);
    mains.push_back(s.whole);
  }
  const std::int64_t count = step_count_ - skipped_count_;
  adamw(tensors, options_, {rates.lr, weight_decay, count}, gradient_scale, skip);
  adamw(decoupled, options_, {rates.decoupled.value_or(rates.lr), weight_decay, count}, gradient_scale, skip);
  if (!values.empty()) at::_foreach_copy_(values, mains);  // after a skipped step: what is there already
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
    s.exp_avg_sq.zero_();
  }
  step_count_ = skipped_count_ = 0;
}

}  // namespace ringtron
