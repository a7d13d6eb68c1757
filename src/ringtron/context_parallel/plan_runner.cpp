#include "ringtron/context_parallel/plan_runner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/attend_call.h"
#include "ringtron/context_parallel/attend_streams.h"
#include "ringtron/context_parallel/backward_attends.h"
#include "ringtron/context_parallel/held_blocks.h"
#include "ringtron/context_parallel/observed.h"
#include "ringtron/context_parallel/softmax_merge.h"
#include "ringtron/context_parallel/step_calls.h"
#include "ringtron/context_parallel/step_messages.h"

namespace ringtron {
namespace {

using internal::AttendCall;
using internal::AttendStreams;
using internal::BackwardAttends;
using internal::BlockOutput;
using internal::GradientSums;
using internal::HeldBlocks;
using internal::Hop;
using internal::KeyValue;
using internal::kMostWaiting;
using internal::Observed;
using internal::output_for_blocks;
using internal::replayed;
using internal::start_messages;
using internal::StepCall;
using internal::StepCalls;

void check_shapes(const PlanContext& context, const ExchangePlan& plan, const at::Tensor& q, const at::Tensor& k) {
  RT_CHECK_EQ(plan.ranks, context.layout.ranks(), "ranks of the plan and its layout");
  RT_CHECK_EQ(q.size(0), context.layout.local_length(plan.rank), "rows of q on one context-parallel rank");
  RT_CHECK_EQ(q.size(1), k.size(1), "samples of q and k");
}

// No step after this one attends to anything.
bool is_last_that_attends(const ExchangePlan& plan, std::size_t step) {
  const std::span later = std::span(plan.steps).subspan(step + 1);
  return std::ranges::all_of(later, [](const Step& other) { return other.attends.empty(); });
}

// Whether a backward's attends of this step begin only after the last kernels of those before. These make the gradients that the step
// sends, and once attention has a multiprocessor it keeps it: the message would leave at the attend's end. What beginning early
// gains and what a late message costs are both proportional to the rows: 0.15 ms, and 0.37 ms for 32 key/value heads of 128,
// for 8,192 rows on an H200. So: for small messages that no other attend waits for, they begin early.
bool gradients_go_first(const ExchangePlan& plan, std::size_t step, bool small) {
  const bool sends_gradients =
      std::ranges::any_of(plan.steps[step].sends, [](const Message& m) { return m.payload != Payload::key_value; });
  return sends_gradients && !(small && is_last_that_attends(plan, step));
}

// The attends of a forward, beside each other, and the result that grows of them.
class ForwardAttends {
 public:
  ForwardAttends(const ExchangePlan& plan, const PlanContext& context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)
      : plan_(plan),
        context_(context),
        q_(q),
        groups_(k.size(2)),
        kernels_(plan, context, AttentionPass::forward, q, k, v),
        accumulator_(q, v.size(3), context.type),
        streams_(q.device(), kernels_.apart(q)),
        twice_(context.fault == CpFault::double_count) {}

  AttendStreams& streams() { return streams_; }

  void of_step(std::size_t i, const HeldBlocks& held) {
    const std::vector<StepCall> calls = kernels_.of_step(i);
    for (std::size_t j = 0; j < calls.size(); ++j) {
      const bool last = j + 1 == calls.size() && is_last_that_attends(plan_, i);
      const bool dropped = context_.fault == CpFault::drop_merge && last;
      for (int repeat = 0; repeat < (twice_ ? 2 : 1); ++repeat) {
        attend(i, calls[j], held, dropped);
        if (parts_.size() < (streams_.apart() ? kMostWaiting : 1)) continue;
        merge(i);
        streams_.inputs_are_given();  // the memory of what was merged is free for later attends
      }
      twice_ = false;
    }
  }

  // Into the result with what the attends gave so far.
  void merge(std::size_t i) {
    streams_.join();
    if (parts_.empty()) return;
    const Observed observed(context_.observer, "merge", static_cast<int>(i));
    for (const Part& part : parts_) accumulator_.merge(part.attend.q.begin, part.result.out, part.result.lse, part.attend.sample);
    parts_.clear();
  }

  SoftmaxAccumulator::Result result() {
    if (context_.sink.defined()) accumulator_.add_sink(context_.sink);
    return accumulator_.result();
  }

 private:
  struct Part {
    Attend attend;
    BlockResult result;
  };

  void attend(std::size_t i, const StepCall& planned, const HeldBlocks& held, bool dropped) {
    const Attend& attend = planned.attend;
    RT_CHECK(attend.heads == HeadPart::all, "a forward plan attends with a part of the heads");
    const AttendCall call(context_, plan_.rank, attend, q_.size(2), groups_);
    const auto scope = streams_.next();
    const Observed observed(context_.observer, "attend", static_cast<int>(i));
    const KeyValue block = held.rows(attend.owner, attend.kv);
    const at::Tensor queries = call.queries(q_);
    BlockResult part = kernels_.forward(planned, queries, call.keys(block.k), call.keys(block.v), call.block_call());
    call.count(cells_of(planned, queries, block.k));
    streams_.gives({part.out, part.lse});
    if (!dropped) parts_.push_back({attend, std::move(part)});
  }

  const ExchangePlan& plan_;
  const PlanContext& context_;
  const at::Tensor& q_;
  std::int64_t groups_;
  StepCalls kernels_;
  SoftmaxAccumulator accumulator_;
  std::vector<Part> parts_;  // until their streams are joined
  AttendStreams streams_;    // goes first, and waits for all that the others keep
  bool twice_;
};

}  // namespace

ForwardState run_forward(const ExchangePlan& plan, bool keeps_last_block, const PlanContext& context,
                         const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  check_shapes(context, plan, q, k);
  RT_CHECK_EQ(k.size(0), q.size(0), "rows of k on one context-parallel rank");
  HeldBlocks held(plan, context.layout, plan.rank, {k, v}, context.tiles == nullptr);
  const int last_owner = (plan.rank + 1) % plan.ranks;
  if (keeps_last_block) held.keep(last_owner);
  ForwardAttends attends(plan, context, q, k, v);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    attends.streams().inputs_are_given();
    if (step.communicates) attends.merge(i);
    Hop hop;
    {
      const Observed observed(context.observer, "start messages", static_cast<int>(i));
      hop = context.replays ? replayed(i, *context.kept, held) : start_messages(step, context, held, nullptr);
    }
    if (context.replays) attends.streams().inputs_are_given();
    attends.of_step(i, held);
    const Observed observed(context.observer, "wait", static_cast<int>(i));
    hop.work.wait();
    for (auto& [message, block] : hop.arriving) {
      if (context.kept != nullptr && !context.replays) context.kept->put(i, {message.owner, message.rows, block.k, block.v});
      held.add(message.owner, message.rows, std::move(block));
    }
    held.release_after(i);
  }
  attends.merge(plan.steps.size() - 1);
  const SoftmaxAccumulator::Result merged = attends.result();
  ForwardState state{merged.out, merged.lse, {}, {}};
  if (keeps_last_block) {
    const std::int64_t rows = context.layout.local_length(last_owner);
    const KeyValue last = rows > 0 ? held.rows(last_owner, {0, rows}) : held.buffer(0);  // no message comes for an empty block
    state.last_k = last.k;
    state.last_v = last.v;
  }
  return state;
}

PlanGradient run_backward(const ExchangePlan& plan, bool keeps_last_block, const PlanContext& context,
                          const SavedForward& saved, const at::Tensor& d_out) {
  check_shapes(context, plan, saved.q, saved.k);
  const BlockOutput whole = output_for_blocks(context, saved, d_out);
  const int first_owner = keeps_last_block ? (plan.rank + 1) % plan.ranks : plan.rank;
  HeldBlocks held(plan, context.layout, first_owner, {saved.k, saved.v}, context.tiles == nullptr);
  GradientSums sums(context.layout, plan.rank, saved.k, saved.v, accumulate_type(saved.q.scalar_type()), whole.scale);
  BackwardAttends attends(plan, context, saved, whole, sums);
  const bool small = !pays_to_cut(saved.k.size(2), saved.k.size(3), saved.v.size(3));
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    attends.streams().inputs_are_given();
    attends.add_what_leaves(i);
    Hop hop;
    {
      const Observed observed(context.observer, "start messages", static_cast<int>(i));
      hop = start_messages(step, context, held, &sums);
    }
    if (gradients_go_first(plan, i, small)) attends.streams().inputs_are_given();
    attends.of_step(i, held);
    const Observed observed(context.observer, "wait", static_cast<int>(i));
    hop.work.wait();
    for (auto& [message, block] : hop.arriving) {
      if (message.payload == Payload::key_value) {
        held.add(message.owner, message.rows, std::move(block));
      } else {
        sums.receive(message.owner, message.rows, block);
      }
    }
    held.release_after(i);
  }
  attends.add_all(plan.steps.size() - 1);
  KeyValue home = sums.home(context.key_gradient_type);
  at::Tensor d_sink;
  if (context.sink.defined()) {
    const at::Tensor p = (context.sink.view({1, -1, 1}) - saved.lse).exp();
    d_sink = -(p * whole.output.delta).sum(at::IntArrayRef{0, 2});
    if (whole.scale.defined()) d_sink.mul_(whole.scale);
  }
  return {attends.dq(), std::move(home.k), std::move(home.v), std::move(d_sink)};
}

}  // namespace ringtron
