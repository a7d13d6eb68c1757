#include "ringtron/context_parallel/plan_runner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
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
#include "ringtron/kernels/half_scale/half_scale.h"

namespace ringtron {
namespace {

using internal::AttendCall;
using internal::AttendStreams;
using internal::GradientSums;
using internal::HalfGradients;
using internal::HeldBlocks;
using internal::KeyValue;
using internal::Observed;
using internal::RowSum;
using internal::StepCall;
using internal::StepCalls;

// Messages of one step on their way.
struct Hop {
  Work work;
  std::vector<at::Tensor> kept;  // being sent
  std::vector<std::pair<Message, KeyValue>> arriving;
};

// What one rank sends another in a step, by receiver or sender and payload: one message, whatever the number of its parts.
using Parcels = std::map<std::pair<int, Payload>, std::vector<Message>>;

Parcels parcels_of(const std::vector<Message>& messages) {
  Parcels parcels;
  for (const Message& message : messages) parcels[{message.peer, message.payload}].push_back(message);
  return parcels;
}

KeyValue joined(const std::vector<KeyValue>& blocks) {
  if (blocks.size() == 1) return blocks.front();
  // All gradients of one payload have the same scale, this rank's.
  std::vector<at::Tensor> k, v;
  for (const KeyValue& block : blocks) {
    k.push_back(block.k);
    v.push_back(block.v);
  }
  return {at::cat(k), at::cat(v), blocks.front().scale};
}

// The messages of one step as tensors.
class Mail {
 public:
  explicit Mail(Hop& hop) : hop_(hop) {}

  void send(int peer, const KeyValue& block) {
    for (const at::Tensor& tensor : {block.k, block.v, block.scale}) {
      if (!tensor.defined() || tensor.numel() == 0) continue;  // a rank without heads; its peers have none either
      sends.push_back({peer, tensor});
      hop_.kept.push_back(tensor);
    }
    bytes += static_cast<std::int64_t>(block.k.nbytes() + block.v.nbytes());
  }
  void receive(int peer, const KeyValue& room) {
    for (const at::Tensor& tensor : {room.k, room.v, room.scale}) {
      if (tensor.defined() && tensor.numel() != 0) receives.push_back({peer, tensor});
    }
  }
  void arrives(const Message& message, const KeyValue& room) { hop_.arriving.emplace_back(message, room); }

  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::int64_t bytes = 0;  // sent, scales aside

 private:
  Hop& hop_;
};

void add_sends(const Step& step, const HeldBlocks& held, GradientSums* sums, Mail& mail) {
  for (const auto& [to, messages] : parcels_of(step.sends)) {
    const auto& [peer, payload] = to;
    std::vector<KeyValue> blocks;
    for (const Message& m : messages) {
      if (payload != Payload::key_value) {
        blocks.push_back(sums->take(payload, m.owner, m.rows));
      } else if (held.arrives_in_place()) {
        for (const PositionRange& part : held.parts_of(m.owner, m.rows)) mail.send(peer, held.rows(m.owner, part));
      } else {
        blocks.push_back(held.rows(m.owner, m.rows));
      }
    }
    if (!blocks.empty()) mail.send(peer, joined(blocks));
  }
}

void add_receives(const Step& step, const HeldBlocks& held, GradientSums* sums, Mail& mail) {
  for (const auto& [from, messages] : parcels_of(step.receives)) {
    const auto& [peer, payload] = from;
    if (payload == Payload::key_value && held.arrives_in_place()) {
      for (const Message& m : messages) {
        for (const PositionRange& part : held.parts_of(m.owner, m.rows)) {
          const KeyValue place = held.place_of(m.owner, part);
          mail.receive(peer, place);
          mail.arrives({m.peer, m.payload, m.owner, part}, place);
        }
      }
      continue;
    }
    std::int64_t rows = 0;
    for (const Message& m : messages) rows += m.rows.length();
    const KeyValue buffer = payload == Payload::key_value ? held.buffer(rows) : sums->buffer(payload, rows);
    mail.receive(peer, buffer);
    std::int64_t row = 0;
    for (const Message& m : messages) {
      mail.arrives(m, {buffer.k.narrow(0, row, m.rows.length()), buffer.v.narrow(0, row, m.rows.length()), buffer.scale});
      row += m.rows.length();
    }
  }
}

// For a message that is never sent: keys and values of this rank, and no gradient.
void stand_in(Payload payload, const HeldBlocks& held, KeyValue& buffer) {
  if (payload == Payload::key_value) return held.stand_in(buffer);
  for (const at::Tensor& tensor : {buffer.k, buffer.v, buffer.scale}) {
    if (tensor.defined()) tensor.zero_();
  }
}

Hop start_messages(const Step& step, const PlanContext& context, const HeldBlocks& held, GradientSums* sums) {
  Hop hop;
  if (!step.communicates) return hop;
  Mail mail(hop);
  add_sends(step, held, sums, mail);
  add_receives(step, held, sums, mail);
  if (context.fault == CpFault::skip_exchange) {
    for (auto& [m, buffer] : hop.arriving) stand_in(m.payload, held, buffer);
    return hop;
  }
  if (context.counts != nullptr) context.counts->bytes += mail.bytes;
  hop.work = context.group.exchange(mail.sends, mail.receives);
  return hop;
}

// What came in this step of an earlier forward; nothing is sent.
Hop replayed(std::size_t step, KeptBlocks& kept, const HeldBlocks& held) {
  Hop hop;
  for (const KeptBlocks::Block& block : kept.take(step)) {
    if (held.arrives_in_place()) {
      const KeyValue place = held.place_of(block.owner, block.rows);
      place.k.copy_(block.k);
      place.v.copy_(block.v);
    }
    hop.arriving.push_back({{.owner = block.owner, .rows = block.rows}, {block.k, block.v}});
  }
  return hop;
}

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
// leaves; and kernels that keep nothing of their own on the device.
bool attends_apart(const ExchangePlan& plan, const PlanContext& context) {
  std::size_t attends = 0;
  for (const Step& step : plan.steps) attends += step.attends.size();
  return attends > 1 && context.group.exchanges_without_kernels() && context.tiles == nullptr;
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

// What an attend gave, until its stream has been joined.
struct AttendedPart {
  Attend attend;
  BlockResult result;
};
struct AttendedGradient {
  Attend attend;
  PositionRange piece;  // the held rows of which the attend's keys are a part
  at::Tensor dq;
  KeyValue keys;
};

// What the attends of a backward have in common.
struct BackwardInputs {
  const PlanContext& context;
  const StepCalls& kernels;
  const at::Tensor& q;
  const OutputGradient& output;
};

// An attend's gradients; of a half of the heads, which go into `room`, nothing while the other half is still to come.
std::optional<BlockGradient> attend_backward(const BackwardInputs& inputs, const StepCall& planned, const AttendCall& call,
                                             const KeyValue& block, BlockGradient& room, HalfGradients& halves) {
  const at::Tensor queries = call.queries(inputs.q);
  BlockCall single = call.block_call();
  if (call.is_half()) single.into = &room;
  BlockGradient part = inputs.kernels.backward(planned, queries, call.keys(block.k), call.keys(block.v),
                                               call.output(inputs.output), single);
  call.count(cells_of(planned, queries, block.k));
  if (!call.is_half()) return part;
  return halves.put(planned.attend, call.heads(), part);
}

}  // namespace

ForwardState run_forward(const ExchangePlan& plan, bool keeps_last_block, const PlanContext& context,
                         const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  check_shapes(context, plan, q, k);
  RT_CHECK_EQ(k.size(0), q.size(0), "rows of k on one context-parallel rank");
  SoftmaxAccumulator accumulator(q, v.size(3), context.type);
  HeldBlocks held(plan, context.layout, plan.rank, {k, v}, context.tiles == nullptr);
  const int last_owner = (plan.rank + 1) % plan.ranks;
  if (keeps_last_block) held.keep(last_owner);
  const StepCalls kernels(plan, context, AttentionPass::forward, q, k, v);
  AttendStreams streams(q.device(), attends_apart(plan, context));
  std::vector<AttendedPart> attended;
  const auto merge_attended = [&](std::size_t i) {
    streams.join();
    const Observed observed(context.observer, "merge", static_cast<int>(i));
    for (const AttendedPart& part : attended) accumulator.merge(part.attend.q.begin, part.result.out, part.result.lse, part.attend.sample);
    attended.clear();
  };
  bool twice = context.fault == CpFault::double_count;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    streams.inputs_are_given();
    if (step.communicates) merge_attended(i);
    Hop hop;
    {
      const Observed observed(context.observer, "start messages", static_cast<int>(i));
      hop = context.replays ? replayed(i, *context.kept, held) : start_messages(step, context, held, nullptr);
    }
    if (context.replays) streams.inputs_are_given();
    const std::vector<StepCall> calls = kernels.of_step(i);
    for (std::size_t j = 0; j < calls.size(); ++j) {
      const Attend& attend = calls[j].attend;
      RT_CHECK(attend.heads == HeadPart::all, "a forward plan attends with half of the heads");
      const AttendCall call(context, plan.rank, attend, q.size(2), k.size(2));
      for (int repeat = 0; repeat < (twice ? 2 : 1); ++repeat) {
        const auto scope = streams.next();
        const Observed observed(context.observer, "attend", static_cast<int>(i));
        const KeyValue block = held.rows(attend.owner, attend.kv);
        const at::Tensor queries = call.queries(q);
        BlockResult part = kernels.forward(calls[j], queries, call.keys(block.k), call.keys(block.v), call.block_call());
        call.count(cells_of(calls[j], queries, block.k));
        streams.gives({part.out, part.lse});
        if (context.fault == CpFault::drop_merge && j + 1 == calls.size() && is_last_that_attends(plan, i)) continue;
        attended.push_back({attend, std::move(part)});
      }
      twice = false;
    }
    const Observed observed(context.observer, "wait", static_cast<int>(i));
    hop.work.wait();
    for (auto& [message, block] : hop.arriving) {
      if (context.kept != nullptr && !context.replays) context.kept->put(i, {message.owner, message.rows, block.k, block.v});
      held.add(message.owner, message.rows, std::move(block));
    }
    held.release_after(i);
  }
  merge_attended(plan.steps.size() - 1);
  if (context.sink.defined()) accumulator.add_sink(context.sink);
  const SoftmaxAccumulator::Result merged = accumulator.result();
  ForwardState state{merged.out, merged.lse, {}, {}};
  if (keeps_last_block) {
    const std::int64_t rows = context.layout.local_length(last_owner);
    const KeyValue last = rows > 0 ? held.rows(last_owner, {0, rows}) : held.buffer(0);  // no message comes for an empty block
    state.last_k = last.k;
    state.last_v = last.v;
  }
  streams.returns({state.out, state.lse, state.last_k, state.last_v});
  return state;
}

PlanGradient run_backward(const ExchangePlan& plan, bool keeps_last_block, const PlanContext& context,
                          const SavedForward& saved, const at::Tensor& d_out) {
  const at::Tensor& q = saved.q;
  check_shapes(context, plan, q, saved.k);
  const at::ScalarType accumulate = accumulate_type(q.scalar_type());
  const BlockOutput whole = output_for_blocks(context, saved, d_out);
  const int first_owner = keeps_last_block ? (plan.rank + 1) % plan.ranks : plan.rank;
  HeldBlocks held(plan, context.layout, first_owner, {saved.k, saved.v}, context.tiles == nullptr);
  GradientSums sums(context.layout, plan.rank, saved.k, saved.v, accumulate, whole.scale);
  const StepCalls kernels(plan, context, AttentionPass::backward, q, saved.k, saved.v);
  RowSum dq(q, q.size(0), accumulate);
  HalfGradients halves;
  const std::int64_t message_row = saved.k.size(2) * (saved.k.size(3) + saved.v.size(3));
  AttendStreams streams(q.device(), attends_apart(plan, context));
  std::vector<AttendedGradient> attended;
  const auto add_attended = [&](std::size_t i) {
    streams.join();
    const Observed observed(context.observer, "merge", static_cast<int>(i));
    for (const AttendedGradient& part : attended) {
      if (part.attend.sample == kEverySample) {
        dq.add(part.attend.q, part.dq, whole.scale);
      } else {
        dq.add_sample(part.attend.q, part.attend.sample, part.dq, whole.scale);
      }
      sums.add(part.attend, part.piece, part.keys);
    }
    attended.clear();
  };

  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    streams.inputs_are_given();
    if (step.communicates) add_attended(i);
    Hop hop;
    {
      const Observed observed(context.observer, "start messages", static_cast<int>(i));
      hop = start_messages(step, context, held, &sums);
    }
    if (gradients_go_first(plan, i, message_row)) streams.inputs_are_given();
    for (const StepCall& planned : kernels.of_step(i)) {
      const Attend& attend = planned.attend;
      const AttendCall call(context, plan.rank, attend, q.size(2), saved.k.size(2));
      if (!call.has_heads()) continue;
      BlockGradient room;
      if (call.is_half()) {
        add_attended(i);  // memory for it may be what an attend under way reads
        room = halves.room(attend, call.heads(), call.rows_of_queries(q), call.of_sample(held.rows(attend.owner, attend.kv).k, 1),
                           call.of_sample(held.rows(attend.owner, attend.kv).v, 1));
        if (attend.heads == HeadPart::first) streams.inputs_are_given();  // the room among them
      }
      const auto scope = streams.next();
      const Observed observed(context.observer, "attend", static_cast<int>(i));
      const KeyValue block = held.rows(attend.owner, attend.kv);
      const std::optional<BlockGradient> part =
          attend_backward({context, kernels, saved.q, whole.output}, planned, call, block, room, halves);
      if (!part) continue;
      const std::int64_t heads = saved.k.size(2);
      const KeyValue keys{call.key_gradient(part->dk, heads), call.key_gradient(part->dv, heads)};
      streams.gives({part->dq, keys.k, keys.v});
      attended.push_back({attend, held.piece_of(attend.owner, attend.kv), part->dq, keys});
    }
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
  add_attended(plan.steps.size() - 1);
  RT_CHECK(halves.empty(), "a backward plan attends with one half of the heads only");
  KeyValue home = sums.home(context.key_gradient_type);
  at::Tensor d_sink;
  if (context.sink.defined()) {
    const at::Tensor p = (context.sink.view({1, -1, 1}) - saved.lse).exp();
    d_sink = -(p * whole.output.delta).sum(at::IntArrayRef{0, 2});
    if (whole.scale.defined()) d_sink.mul_(whole.scale);
  }
  PlanGradient result{dq.all(context.type), std::move(home.k), std::move(home.v), std::move(d_sink)};
  streams.returns({result.dq, result.dk, result.dv, result.d_sink});
  return result;
}

}  // namespace ringtron
