// Hooks, readiness and the order of reductions. See gradient_reducer.h.
#include "ringtron/data_parallel/gradient_reducer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/comm/exchange_collectives.h"
#include "ringtron/data_parallel/value_buffer.h"

namespace ringtron {
namespace {

// Before the first step gradients are added up and nothing is reduced.
constexpr int kNoStep = std::numeric_limits<int>::max();

std::vector<std::int64_t> sizes_of(const ParameterList& parameters) {
  std::vector<std::int64_t> sizes;
  for (const Parameter* parameter : parameters) sizes.push_back(parameter->value.numel());
  return sizes;
}

BucketOptions for_group(BucketOptions options, const Communicator& group) {
  options.group_size = group.size();
  options.sharded = options.sharded && group.size() > 1;
  options.bf16_messages = options.bf16_messages && group.size() > 1;
  return options;
}

// What stages of a pipeline share is summed over them after the buckets: then the ranks of all stages that own the same
// elements of it have to meet, although their other parameters differ.
std::vector<int> with_buckets_of_their_own(const ParameterList& parameters, const BucketOptions& options) {
  std::vector<int> out;
  for (std::size_t i = 0; options.sharded && i < parameters.size(); ++i)
    if (parameters[i]->gradient_axes.contains(Axis::pipeline)) out.push_back(static_cast<int>(i));
  return out;
}

// Over which the buckets are summed.
AxisSet bucket_axes(const ParameterList& parameters) {
  if (parameters.empty()) return kDataContextAxes;
  const AxisSet first = parameters.front()->gradient_axes & kDataContextAxes;
  for (const Parameter* parameter : parameters) {
    RT_CHECK((parameter->gradient_axes & kDataContextAxes) == first,
             "gradient axes of {}: expected {} of data and context, as of {}, got {}", parameter->name,
             to_string(first), parameters.front()->name, to_string(parameter->gradient_axes));
  }
  return first;
}

// Parameters whose gradients finish() sums over one more group.
struct FurtherSum {
  AxisSet axes;
  Communicator& group;
  ParameterList parameters;
};

// By the sets' index, so in one order on all ranks.
std::vector<FurtherSum> further_sums(const ParameterList& parameters, const GroupOfAxes& group_of) {
  std::map<unsigned, ParameterList> by_axes;
  for (Parameter* parameter : parameters)
    by_axes[(parameter->gradient_axes - kDataContextAxes).index()].push_back(parameter);
  by_axes.erase(AxisSet().index());
  std::vector<FurtherSum> sums;
  for (auto& [index, list] : by_axes) {
    const AxisSet axes = list.front()->gradient_axes - kDataContextAxes;
    sums.push_back({axes, group_of(axes), std::move(list)});
  }
  return sums;
}

}  // namespace

struct GradientReducer::State {
  State(const ParameterList& list, const GroupOfAxes& group_of, const BucketOptions& bucket_options)
      : parameters(list),
        replicas(group_of(bucket_axes(list))),
        further(further_sums(list, group_of)),
        options(for_group(bucket_options, replicas)) {
    BucketPlan plan = plan_buckets(sizes_of(list), options, with_buckets_of_their_own(list, options));
    // Before there are gradients: for a moment the values are there twice.
    if (options.sharded) values.emplace(list, plan);
    buffer.emplace(list, std::move(plan));
    if (list.empty() || options.bf16_messages) return;
    const at::Device device = list.front()->value.device();
    if (uses_copy_engines(replicas, device)) by_copies.emplace(replicas, device);
  }

  void begin_step(int of_micro_batches) {
    micro_batches = of_micro_batches;
    received.assign(parameters.size(), 0);
    waiting.clear();
    for (const Bucket& bucket : buffer->plan().buckets) waiting.push_back(static_cast<int>(bucket.parameters.size()));
    launched = 0;
    reductions.clear();
  }

  // Called by autograd, in backward, when it has added up a parameter's gradient of one micro-batch.
  void accept(int index) {
    Parameter& parameter = *parameters[index];
    const int bucket = buffer->plan().bucket_of[index];
    RT_CHECK(
        !received.empty() && bucket >= launched && received[index] < micro_batches,
        "gradient of {}: expected one in each of {} micro-batches, got one more; begin_step() begins the next step",
        parameter.name, micro_batches);
    at::Tensor& fresh = parameter.value.mutable_grad();
    if (fresh.defined()) {
      const at::NoGradGuard no_grad;
      if (parameter.gradient_begun)
        parameter.gradient.add_(fresh);
      else
        parameter.gradient.copy_(fresh);
      parameter.gradient_begun = true;
      fresh.reset();
    }
    if (++received[index] < micro_batches) return;
    --waiting[bucket];
    if (options.overlap) launch_ready();
  }

  void launch_ready() {
    while (launched < static_cast<int>(waiting.size()) && waiting[launched] == 0) launch_next();
  }

  void launch_next() {
    const at::Tensor bucket = buffer->bucket(launched);
    ++launched;
    if (bucket.numel() == 0) return;
    const auto own = [&](const at::Tensor& whole) { return options.sharded ? shard_of(whole) : whole; };
    if (by_copies) {
      Work work = options.sharded ? by_copies->reduce_scatter(bucket) : by_copies->all_reduce(bucket);
      reductions.push_back({std::move(work), own(bucket), own(bucket)});
      return;
    }
    const at::Tensor sent = options.bf16_messages ? bucket.to(at::kBFloat16) : bucket;
    const at::Tensor received = own(sent);
    Work work = options.sharded ? replicas.reduce_scatter(sent, received) : replicas.all_reduce(sent);
    reductions.push_back({std::move(work), received, own(bucket)});
  }

  void wait_for_reductions() {
    const at::NoGradGuard no_grad;
    for (Reduction& reduction : reductions) {
      reduction.work.wait();
      if (options.bf16_messages) reduction.sums.copy_(reduction.received);
    }
    reductions.clear();
  }

  // What this rank owns of a bucket: a view.
  at::Tensor shard_of(const at::Tensor& bucket) const {
    const std::int64_t length = bucket.numel() / replicas.size();
    return bucket.narrow(0, length * replicas.rank(), length);
  }

  // Buckets are in the order of the backward: a forward needs the last one first.
  void gather_values() {
    if (!values) return;
    const std::vector<Bucket>& buckets = buffer->plan().buckets;
    gathers.resize(buckets.size());
    for (std::size_t i = buckets.size(); i-- > 0;) {
      const at::Tensor bucket = values->bucket(buckets[i]);
      if (bucket.numel() == 0) continue;
      gathers[i] = by_copies ? by_copies->all_gather(bucket) : replicas.all_gather(shard_of(bucket), bucket);
    }
    if (!options.overlap_gather) await_values();
  }

  // What has been waited for once is done: other streams than this one wait for it, as they do for the owner's step.
  // With recomputed layers autograd's thread comes here too, while the one that began the backward waits for it.
  void await_bucket(int bucket) {
    if (gathers.empty()) return;
    Work& gather = gathers[static_cast<std::size_t>(bucket)];
    gather.wait();
    gather = {};
  }

  void await_values() {
    for (int i = static_cast<int>(gathers.size()); i-- > 0;) await_bucket(i);
  }

  void check_all_received() const {
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (received[i] == 0) missing.push_back(parameters[i]->name);
    RT_CHECK(missing.empty(),
             "expected a gradient for every parameter, got none for {} ({} rank {}): is it in the graph?",
             fmt::join(missing, ", "), replicas.name(), replicas.rank());
  }

  void sum_further() {
    const at::NoGradGuard no_grad;
    for (const FurtherSum& sum : further) {
      if (sum.group.size() == 1) continue;
      std::vector<at::Tensor> flat;
      for (const Parameter* parameter : sum.parameters) flat.push_back(parameter->gradient.reshape({-1}));
      const at::Tensor together = at::cat(flat);
      sum.group.all_reduce(together).wait();
      std::int64_t offset = 0;
      for (Parameter* parameter : sum.parameters) {
        at::Tensor& gradient = parameter->gradient;
        gradient.copy_(together.narrow(0, offset, gradient.numel()).view(gradient.sizes()));
        offset += gradient.numel();
      }
    }
  }

  ParameterList parameters;
  Communicator& replicas;
  std::vector<FurtherSum> further;
  BucketOptions options;
  std::optional<ValueBuffer> values;             // sharded alone
  std::optional<GradBuffer> buffer;              // always, once constructed
  std::optional<ExchangeCollectives> by_copies;  // where that is faster than the group's own operations
  int micro_batches = 0;                         // of this step
  std::vector<int> received;                     // gradients of each parameter in this step; empty: no step has begun
  std::vector<int> waiting;                      // parameters of each bucket that lack the gradient of a micro-batch
  int launched = 0;                              // buckets whose reduction is under way
  struct Reduction {
    Work work;
    at::Tensor received;  // the same memory as `sums`, unless messages are in bf16
    at::Tensor sums;      // in the buffer
  };
  std::vector<Reduction> reductions;  // under way
  std::vector<Work> gathers;          // of each bucket's values; empty before the first
};

class GradientReducer::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(State* state, int index) : state_(state), index_(index) {}
  // Autograd calls this without a gradient too, where an operation has added its share itself and told so.
  void operator()(const at::Tensor& value) override {
    if (value.grad().defined()) state_->accept(index_);
  }

 private:
  State* state_;
  int index_;
};

GradientReducer::GradientReducer(const ParameterList& parameters, const GroupOfAxes& group_of, BucketOptions options)
    : state_(std::make_unique<State>(parameters, group_of, options)) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& value = parameters[i]->value;
    RT_CHECK(value.is_leaf() && value.requires_grad(), "gradient reducer: {} must be a leaf that requires a gradient",
             parameters[i]->name);
    RT_CHECK(torch::autograd::impl::post_acc_grad_hooks(value) == nullptr, "gradient reducer: {} already has a hook",
             parameters[i]->name);
    torch::autograd::impl::set_post_acc_grad_hooks(value, std::make_unique<Hook>(state_.get(), static_cast<int>(i)));
    parameters[i]->gradient_added = [state = state_.get(), index = static_cast<int>(i)] { state->accept(index); };
    if (state_->values && options.overlap_gather) {
      const int bucket = buffer().plan().bucket_of[i];
      parameters[i]->await_value = [state = state_.get(), bucket] { state->await_bucket(bucket); };
    }
  }
}

GradientReducer::~GradientReducer() {
  for (Parameter* parameter : state_->parameters) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter->value, nullptr);
    parameter->gradient_added = {};
    parameter->await_value = {};
  }
}

void GradientReducer::begin_step(int micro_batches) {
  RT_CHECK(micro_batches > 0, "expected a step of at least one micro-batch, got {}", micro_batches);
  RT_CHECK(state_->reductions.empty(), "begin_step() while reductions are under way: finish() the step first");
  // Nothing is filled with zeros: the first share of each gradient is written over what is there.
  for (Parameter* parameter : state_->parameters) parameter->gradient_begun = false;
  state_->begin_step(micro_batches);
}

void GradientReducer::finish() {
  RT_CHECK(state_->micro_batches != kNoStep, "finish() before begin_step()");
  state_->check_all_received();
  // The forward has awaited what it read. An owner is about to write what a gather of another's may still read.
  state_->await_values();
  while (state_->launched < static_cast<int>(state_->waiting.size())) state_->launch_next();
  state_->wait_for_reductions();
  state_->sum_further();
}

std::vector<ElementRange> GradientReducer::owned() const {
  const Communicator& replicas = state_->replicas;
  return state_->options.sharded ? bucket_shards(buffer().plan(), replicas.rank(), replicas.size())
                                 : bucket_shards(buffer().plan(), 0, 1);
}

void GradientReducer::gather_values() {
  const at::NoGradGuard no_grad;
  state_->gather_values();
}

const GradBuffer& GradientReducer::buffer() const { return *state_->buffer; }

}  // namespace ringtron
