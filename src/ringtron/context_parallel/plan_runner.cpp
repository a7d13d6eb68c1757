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
#include "ringtron/context_parallel/half_gradients.h"
#include "ringtron/context_parallel/held_blocks.h"
#include "ringtron/context_parallel/observed.h"
#include "ringtron/context_parallel/row_sum.h"
#include "ringtron/context_parallel/softmax_merge.h"
#include "ringtron/context_parallel/step_calls.h"
#include "ringtron/context_parallel/step_messages.h"
#include "ringtron/kernels/half_scale/half_scale.h"

namespace ringtron {
namespace {

using internal::AttendCall;
using internal::AttendStreams;
using internal::GradientSums;
using internal::HalfGradients;
using internal::HeldBlocks;
using internal::Hop;
using internal::KeyValue;
using internal::Observed;
using internal::replayed;
using internal::RowSum;
using internal::start_messages;
using internal::StepCall;
using internal::StepCalls;

void check_shapes(const PlanContext& context, const ExchangePlan& plan, const at::Tensor& q, const at::Tensor& k) {
  RT_CHECK_EQ(plan.ranks, context.layout.ranks(), "ranks of the plan and its layout");
  RT_CHECK_EQ(q.size(0), context.layout.local_length(plan.rank), "rows of q on one context-parallel rank");
  RT_CHECK_EQ(q.size(1), k.size(1), "samples of q and k");
}

// The final output and its gradient as blocks want them.
struct BlockOutput {
  OutputGradient output;
  at::Tensor scale;  // a factor of all gradients that blocks give; undefined: none
};

// The largest magnitude that the gradient of the output has in fp16. Large, since products with small probabilities must
// not fall under fp16's least normal number (6e-5); small, since dV sums up to `terms` of them: one for each row of each
// query head of a key/value head. Up to 65,504 terms that sum overflows only if a key has all the attention of all of them
// and their gradients, all of one sign, are a quarter of the largest in the mean; of more terms, if they are less. The loss
// is NaN then, not wrong.
double most_in_half(std::int64_t terms) {
  constexpr double kLargestHalf = 65504, kCoherent = 0.25, kLeast = 4, kMost = 16;
  return std::clamp(kLargestHalf / kCoherent / static_cast<double>(std::max<std::int64_t>(terms, 1)), kLeast, kMost);
}

BlockOutput output_for_blocks(const PlanContext& context, const SavedForward& saved, const at::Tensor& d_out) {
  BlockOutput result{{d_out, saved.out, saved.lse, {}}, {}};
  const std::int64_t query_heads = saved.q.size(2) / std::max<std::int64_t>(saved.k.size(2), 1);
  if (saved.q.scalar_type() == at::kHalf) {  // on all ranks or on none, also on one without rows
    const HalfScaled scaled = scale_to_half(d_out, most_in_half(d_out.size(0) * query_heads));
    result.output.d_out = scaled.x;
    result.output.out = to_half(saved.out);
    result.scale = scaled.inverse;
  }
  if (context.block.wants_delta() || context.sink.defined()) {
    const at::ScalarType accumulate = accumulate_type(saved.q.scalar_type());
    const OutputGradient& o = result.output;
    result.output.delta = (o.d_out.to(accumulate) * o.out.to(accumulate)).sum(-1).permute({1, 2, 0}).contiguous();
  }
  return result;
}

// No step after this one attends to anything.
bool is_last_that_attends(const ExchangePlan& plan, std::size_t step) {
  const std::span later = std::span(plan.steps).subspan(step + 1);
  return std::ranges::all_of(later, [](const Step& other) { return other.attends.empty(); });
}

// Whether attends run beside each other: more than one; messages that do not wait for multiprocessors, which attention then never
// leaves; kernels that keep nothing of their own on the device; and a type that has fused kernels, since scores of two attends
// at once would take twice the memory.
bool attends_apart(const ExchangePlan& plan, const PlanContext& context, const at::Tensor& q) {
  std::size_t attends = 0;
  for (const Step& step : plan.steps) attends += step.attends.size();
  return attends > 1 && context.group.exchanges_without_kernels() && context.tiles == nullptr && q.element_size() == 2;
}

// Whether a backward's attends of this step begin only after the last kernels of those before. These make the gradients that the step
// sends, and once attention has a multiprocessor it keeps it: the message would leave at the attend's end. What beginning early
// gains and what a late message costs are both proportional to the rows: 0.15 ms, and 0.37 ms for 32 key/value heads of 128,
// for 8,192 rows on an H200. So: for small messages that no other attend waits for, they begin early.
bool gradients_go_first(const ExchangePlan& plan, std::size_t step, std::int64_t message_row) {
  constexpr std::int64_t kSmallRow = 8 * (128 + 128);
  const bool sends_gradients =
      std::ranges::any_of(plan.steps[step].sends, [](const Message& m) { return m.payload != Payload::key_value; });
  return sends_gradients && !(message_row <= kSmallRow && is_last_that_attends(plan, step));
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
        streams_(q.device(), attends_apart(plan, context, q)),
        twice_(context.fault == CpFault::double_count) {}

  AttendStreams& streams() { return streams_; }

  void of_step(std::size_t i, const HeldBlocks& held) {
    const std::vector<StepCall> calls = kernels_.of_step(i);
    for (std::size_t j = 0; j < calls.size(); ++j) {
      const bool last = j + 1 == calls.size() && is_last_that_attends(plan_, i);
      const bool dropped = context_.fault == CpFault::drop_merge && last;
      for (int repeat = 0; repeat < (twice_ ? 2 : 1); ++repeat) {
        attend(i, calls[j], held, dropped);
        if (!streams_.apart()) merge(i);  // few parts wait, however many attends a step has
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
    RT_CHECK(attend.heads == HeadPart::all, "a forward plan attends with half of the heads");
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

// The attends of a backward, beside each other, and the sums of what they give.
class BackwardAttends {
 public:
  BackwardAttends(const ExchangePlan& plan, const PlanContext& context, const SavedForward& saved, const BlockOutput& whole,
                  GradientSums& sums)
      : plan_(plan),
        context_(context),
        saved_(saved),
        whole_(whole),
        sums_(sums),
        kernels_(plan, context, AttentionPass::backward, saved.q, saved.k, saved.v),
        dq_(saved.q, saved.q.size(0), accumulate_type(saved.q.scalar_type())),
        streams_(saved.q.device(), attends_apart(plan, context, saved.q)) {}

  AttendStreams& streams() { return streams_; }

  void of_step(std::size_t i, const HeldBlocks& held) {
    for (const StepCall& planned : kernels_.of_step(i)) {
      const AttendCall call(context_, plan_.rank, planned.attend, saved_.q.size(2), saved_.k.size(2));
      if (!call.has_heads()) continue;
      attend(i, planned, call, held);
      if (!streams_.apart()) add(i);  // as in a forward
    }
  }

  // Into the sums with what the attends gave so far.
  void add(std::size_t i) {
    streams_.join();
    if (parts_.empty()) return;
    const Observed observed(context_.observer, "merge", static_cast<int>(i));
    for (const Part& part : parts_) {
      if (part.attend.sample == kEverySample) {
        dq_.add(part.attend.q, part.dq, whole_.scale);
      } else {
        dq_.add_sample(part.attend.q, part.attend.sample, part.dq, whole_.scale);
      }
      sums_.add(part.attend, part.piece, part.keys);
    }
    parts_.clear();
  }

  at::Tensor dq() {
    RT_CHECK(halves_.empty(), "a backward plan attends with one half of the heads only");
    return dq_.all(context_.type);
  }

 private:
  struct Part {
    Attend attend;
    PositionRange piece;  // the held rows of which the attend's keys are a part
    at::Tensor dq;
    KeyValue keys;
  };

  void attend(std::size_t i, const StepCall& planned, const AttendCall& call, const HeldBlocks& held) {
    const Attend& attend = planned.attend;
    const KeyValue block = held.rows(attend.owner, attend.kv);
    BlockCall single = call.block_call();
    BlockGradient room;
    if (call.is_half()) {
      add(i);  // memory for it may be what an attend under way reads
      room = halves_.room(attend, call.heads(), call.rows_of_queries(saved_.q), call.of_sample(block.k, 1), call.of_sample(block.v, 1));
      if (attend.heads == HeadPart::first) streams_.inputs_are_given();  // the room among them
      single.into = &room;
    }
    const auto scope = streams_.next();
    const Observed observed(context_.observer, "attend", static_cast<int>(i));
    const at::Tensor queries = call.queries(saved_.q);
    BlockGradient part = kernels_.backward(planned, queries, call.keys(block.k), call.keys(block.v), call.output(whole_.output), single);
    call.count(cells_of(planned, queries, block.k));
    if (call.is_half()) {
      std::optional<BlockGradient> complete = halves_.put(attend, call.heads(), part);
      if (!complete) return;
      part = std::move(*complete);
    }
    const std::int64_t heads = saved_.k.size(2);
    const KeyValue keys{call.key_gradient(part.dk, heads), call.key_gradient(part.dv, heads)};
    streams_.gives({part.dq, keys.k, keys.v});
    parts_.push_back({attend, held.piece_of(attend.owner, attend.kv), part.dq, keys});
  }

  const ExchangePlan& plan_;
  const PlanContext& context_;
  const SavedForward& saved_;
  const BlockOutput& whole_;
  GradientSums& sums_;
  StepCalls kernels_;
  RowSum dq_;
  HalfGradients halves_;
  std::vector<Part> parts_;  // until their streams are joined
  AttendStreams streams_;    // goes first, and waits for all that the others keep
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
  const std::int64_t message_row = saved.k.size(2) * (saved.k.size(3) + saved.v.size(3));
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    attends.streams().inputs_are_given();
    if (step.communicates) attends.add(i);
    Hop hop;
    {
      const Observed observed(context.observer, "start messages", static_cast<int>(i));
      hop = start_messages(step, context, held, &sums);
    }
    if (gradients_go_first(plan, i, message_row)) attends.streams().inputs_are_given();
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
  attends.add(plan.steps.size() - 1);
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
