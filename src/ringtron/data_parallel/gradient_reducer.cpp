// Hooks, readiness and the order of reductions. See gradient_reducer.h.
#include "ringtron/data_parallel/gradient_reducer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <string>
#include <vector>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::vector<std::int64_t> sizes_of(const ParameterList& parameters) {
  std::vector<std::int64_t> sizes;
  for (const Parameter* parameter : parameters) sizes.push_back(parameter->value.numel());
  return sizes;
}

BucketOptions for_group(BucketOptions options, const Communicator& group) {
  options.group_size = group.size();
  return options;
}

}  // namespace

struct GradientReducer::State {
  State(const ParameterList& list, ReductionGroups reduction_groups, const BucketOptions& bucket_options)
      : parameters(list),
        groups(reduction_groups),
        options(for_group(bucket_options, reduction_groups.replicas)),
        buffer(list, plan_buckets(sizes_of(list), options)) {
    reset();
  }

  void reset() {
    received.assign(parameters.size(), false);
    waiting.clear();
    launched = 0;
    last = false;
    works.clear();
  }

  // Called by autograd, in backward, when it has added up a parameter's gradient of this micro-batch.
  void accept(int index) {
    Parameter& parameter = *parameters[index];
    const int bucket = buffer.plan().bucket_of[index];
    RT_CHECK(bucket >= launched,
             "gradient of {} came after its bucket {} was reduced; zero() begins the next step",
             parameter.name, bucket);
    at::Tensor& fresh = parameter.value.mutable_grad();
    if (fresh.defined()) {
      const at::NoGradGuard no_grad;
      parameter.gradient.add_(fresh);
      fresh.reset();
    }
    received[index] = true;
    if (!last) return;
    RT_CHECK(waiting[bucket] > 0, "gradient of {} came twice in one micro-batch", parameter.name);
    --waiting[bucket];
    if (options.overlap) launch_ready();
  }

  void launch_ready() {
    while (launched < static_cast<int>(waiting.size()) && waiting[launched] == 0) launch_next();
  }

  void launch_next() {
    at::Tensor bucket = buffer.bucket(launched);
    ++launched;
    if (bucket.numel() > 0) works.push_back(groups.replicas.all_reduce(bucket));
  }

  void check_all_received() const {
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (!received[i]) missing.push_back(parameters[i]->name);
    RT_CHECK(missing.empty(),
             "expected a gradient for every parameter, got none for {} ({} rank {}): is it in the graph?",
             fmt::join(missing, ", "), groups.replicas.name(), groups.replicas.rank());
  }

  void sum_over_tensor_group() {
    std::vector<at::Tensor> gradients, flat;
    for (const Parameter* parameter : parameters)
      if (parameter->sum_gradient_over_tensor_group) {
        gradients.push_back(parameter->gradient);
        flat.push_back(parameter->gradient.reshape({-1}));
      }
    if (gradients.empty() || groups.tensor.size() == 1) return;
    const at::NoGradGuard no_grad;
    const at::Tensor together = at::cat(flat);
    groups.tensor.all_reduce(together).wait();
    std::int64_t offset = 0;
    for (at::Tensor& gradient : gradients) {
      gradient.copy_(together.narrow(0, offset, gradient.numel()).view(gradient.sizes()));
      offset += gradient.numel();
    }
  }

  ParameterList parameters;
  ReductionGroups groups;
  BucketOptions options;
  GradBuffer buffer;
  std::vector<bool> received;  // in any micro-batch of this step
  std::vector<int> waiting;    // parameters of each bucket without a gradient in the last micro-batch
  int launched = 0;            // buckets whose reduction is under way
  bool last = false;
  std::vector<Work> works;
};

class GradientReducer::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(State* state, int index) : state_(state), index_(index) {}
  void operator()(const at::Tensor&) override { state_->accept(index_); }

 private:
  State* state_;
  int index_;
};

GradientReducer::GradientReducer(const ParameterList& parameters, ReductionGroups groups,
                                 BucketOptions options)
    : state_(std::make_unique<State>(parameters, groups, options)) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& value = parameters[i]->value;
    RT_CHECK(value.is_leaf() && value.requires_grad(),
             "gradient reducer: {} must be a leaf that requires a gradient", parameters[i]->name);
    RT_CHECK(torch::autograd::impl::post_acc_grad_hooks(value) == nullptr,
             "gradient reducer: {} already has a hook", parameters[i]->name);
    torch::autograd::impl::set_post_acc_grad_hooks(value,
                                                   std::make_unique<Hook>(state_.get(), static_cast<int>(i)));
  }
}

GradientReducer::~GradientReducer() {
  for (const Parameter* parameter : state_->parameters)
    torch::autograd::impl::set_post_acc_grad_hooks(parameter->value, nullptr);
}

void GradientReducer::zero() {
  RT_CHECK(state_->works.empty(), "zero() while reductions are under way: finish() the step first");
  state_->buffer.zero();
  state_->reset();
}

void GradientReducer::begin_micro_batch(bool is_last) {
  RT_CHECK(!state_->last, "begin_micro_batch() after the last micro-batch: finish() and zero() come first");
  state_->last = is_last;
  if (!is_last) return;
  for (const Bucket& bucket : state_->buffer.plan().buckets)
    state_->waiting.push_back(static_cast<int>(bucket.parameters.size()));
}

void GradientReducer::finish() {
  RT_CHECK(state_->last, "finish() before the last micro-batch");
  state_->check_all_received();
  while (state_->launched < static_cast<int>(state_->waiting.size())) state_->launch_next();
  for (Work& work : state_->works) work.wait();
  state_->works.clear();
  state_->sum_over_tensor_group();
}

const GradBuffer& GradientReducer::buffer() const {
  return state_->buffer;
}

}  // namespace ringtron
