#include "ringtron/context_parallel/backward_attends.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/observed.h"
#include "ringtron/kernels/half_scale/half_scale.h"

namespace ringtron::internal {
namespace {

// The largest magnitude that the gradient of the output has in fp16. Large, since products with small probabilities must
// not fall under fp16's least normal number (6e-5); small, since dV sums up to `terms` of them: one for each row of each
// query head of a key/value head. Up to 65,504 terms that sum overflows only if a key has all the attention of all of them
// and their gradients, all of one sign, are a quarter of the largest in the mean; of more terms, if they are less. The loss
// is NaN then, not wrong.
double most_in_half(std::int64_t terms) {
  constexpr double kLargestHalf = 65504, kCoherent = 0.25, kLeast = 4, kMost = 16;
  return std::clamp(kLargestHalf / kCoherent / static_cast<double>(std::max<std::int64_t>(terms, 1)), kLeast, kMost);
}

}  // namespace

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

BackwardAttends::BackwardAttends(const ExchangePlan& plan, const PlanContext& context, const SavedForward& saved,
                                 const BlockOutput& whole, GradientSums& sums)
    : plan_(plan),
      context_(context),
      saved_(saved),
      whole_(whole),
      sums_(sums),
      kernels_(plan, context, AttentionPass::backward, saved.q, saved.k, saved.v),
      dq_(saved.q, saved.q.size(0), accumulate_type(saved.q.scalar_type())),
      streams_(saved.q.device(), attends_apart(plan, context, saved.q)),
      divides_(context.heads_divide && halves_pay()) {}

// Under a gather they hide messages, on a ring they fill what an attend beside them leaves of the device, and hide a message for
// half of the time only.
bool BackwardAttends::halves_pay() const {
  const bool pays = !saved_.q.is_cuda() || pays_to_halve(saved_.k.size(2), saved_.k.size(3), saved_.v.size(3));
  if (plan_.gathers) return pays;
  return context_.ring_halves == CpRingHalves::always || (streams_.apart() && pays);
}

void BackwardAttends::of_step(std::size_t step, const HeldBlocks& held) {
  for (const StepCall& planned : kernels_.of_step(step)) {
    const AttendCall call(context_, plan_.rank, planned.attend, saved_.q.size(2), saved_.k.size(2), divides_);
    if (!call.has_heads()) continue;
    attend(step, planned, call, held);
    if (parts_.size() < (streams_.apart() ? kMostWaiting : 1)) continue;
    add_all(step);
    streams_.inputs_are_given();  // the memory of what was added is free for later attends
  }
}

void BackwardAttends::add_what_leaves(std::size_t step) {
  const std::vector<Message>& sends = plan_.steps[step].sends;
  add(step, [&](const Part& part) {
    const int owner = part.attend.owner;
    return std::ranges::any_of(sends, [&](const Message& m) {
      return m.payload != Payload::key_value && (owner == m.owner || owner == kWholeSequence);
    });
  });
}

void BackwardAttends::add_all(std::size_t step) {
  add(step, [](const Part&) { return true; });
}

template <class Predicate>
void BackwardAttends::add(std::size_t step, const Predicate& wanted) {
  if (std::ranges::none_of(parts_, wanted)) return;
  const Observed observed(context_.observer, "merge", static_cast<int>(step));
  for (Part& part : parts_) {
    if (!wanted(part)) continue;
    if (part.room.rows.k.defined()) zero_the_rest(part.room);
    streams_.wait(part.complete);
    if (part.attend.sample == kEverySample) {
      dq_.add(part.attend.q, part.dq, whole_.scale);
    } else {
      dq_.add_sample(part.attend.q, part.attend.sample, part.dq, whole_.scale);
    }
    sums_.add(part.attend, part.piece, part.keys);
  }
  std::erase_if(parts_, wanted);
}

at::Tensor BackwardAttends::dq() {
  RT_CHECK(halves_.empty() && parts_.empty(), "gradients of attends that a backward plan has not ended");
  return dq_.all(context_.type);
}

bool BackwardAttends::leaves_alone(const Attend& attend, const PositionRange& piece) const {
  std::ptrdiff_t attends = 0;
  bool leaves = false;
  for (const Step& step : plan_.steps) {
    attends += std::ranges::count(step.attends, attend.owner, &Attend::owner);
    leaves = leaves || std::ranges::any_of(step.sends, [&](const Message& m) {
      return m.payload == Payload::key_value_gradient && m.owner == attend.owner && m.rows == piece;
    });
  }
  return leaves && attends == 1;
}

BackwardAttends::MessageRoom BackwardAttends::message_room(const Attend& attend, const PositionRange& piece, const KeyValue& block) {
  const bool as_given = whole_.scale.defined() && !context_.key_head.defined() && attend.sample == kEverySample;
  if (!as_given || attend.kv == piece || !leaves_alone(attend, piece)) return {};
  const auto rows = [&](const at::Tensor& x) { return at::empty({piece.length(), x.size(1), x.size(2), x.size(3)}, x.options()); };
  KeyValue room{rows(block.k), rows(block.v)};
  return {std::move(room), {attend.kv.begin - piece.begin, attend.kv.end - piece.begin}, streams_.mark()};
}

void BackwardAttends::zero_the_rest(MessageRoom& room) {
  streams_.wait(room.given);
  for (const at::Tensor& rows : {room.rows.k, room.rows.v}) {
    rows.narrow(0, 0, room.written.begin).zero_();
    rows.narrow(0, room.written.end, rows.size(0) - room.written.end).zero_();
  }
}

BlockGradient BackwardAttends::half_room(const AttendCall& call, const Attend& attend, const KeyValue& block) {
  const auto first = waiting_half(attend);
  if (first != waiting_.end()) streams_.wait(first->room);
  BlockGradient room = halves_.room(attend, call.heads(), call.rows_of_queries(saved_.q), call.of_sample(block.k, 1), call.of_sample(block.v, 1));
  if (first == waiting_.end()) waiting_.push_back({of_all_heads(attend), streams_.mark(), {}});
  return room;
}

std::optional<BlockGradient> BackwardAttends::whole_of(const AttendCall& call, const Attend& attend, const BlockGradient& half) {
  const auto first = waiting_half(attend);
  streams_.wait(first->complete);
  std::optional<BlockGradient> whole = halves_.put(attend, call.heads(), half);
  if (whole) {
    waiting_.erase(first);
  } else {
    first->complete = streams_.mark();
  }
  return whole;
}

std::vector<BackwardAttends::Half>::iterator BackwardAttends::waiting_half(const Attend& attend) {
  return std::ranges::find(waiting_, of_all_heads(attend), &Half::attend);
}

void BackwardAttends::attend(std::size_t step, const StepCall& planned, const AttendCall& call, const HeldBlocks& held) {
  Attend attend = planned.attend;
  const KeyValue block = held.rows(attend.owner, attend.kv);
  const PositionRange piece = held.piece_of(attend.owner, attend.kv);
  const auto scope = streams_.next();
  const at::Tensor queries = call.queries(saved_.q);
  BlockCall single = call.block_call();
  BlockGradient room;
  MessageRoom message;
  if (call.is_half()) {
    room = half_room(call, attend, block);
    single.into = &room;
  } else if (message = message_room(attend, piece, block); message.rows.k.defined()) {
    const auto place = [&](const at::Tensor& rows) { return rows.narrow(0, message.written.begin, message.written.length()); };
    room = {at::empty(queries.sizes(), queries.options()), place(message.rows.k), place(message.rows.v)};
    single.into = &room;
  }
  const Observed observed(context_.observer, "attend", static_cast<int>(step));
  BlockGradient part = kernels_.backward(planned, queries, call.keys(block.k), call.keys(block.v), call.output(whole_.output), single);
  call.count(cells_of(planned, queries, block.k));
  if (call.is_half()) {
    std::optional<BlockGradient> whole = whole_of(call, attend, part);
    if (!whole) return;
    part = std::move(*whole);
  }
  const std::int64_t heads = saved_.k.size(2);
  KeyValue keys{call.key_gradient(part.dk, heads), call.key_gradient(part.dv, heads)};
  if (message.rows.k.defined() && keys.k.is_alias_of(message.rows.k) && keys.v.is_alias_of(message.rows.v)) {
    keys = message.rows;
    attend.kv = piece;
  } else {
    message = {};  // the kernel has put them elsewhere
  }
  AttendStreams::Mark complete = streams_.gives({part.dq, keys.k, keys.v});
  parts_.push_back({attend, piece, part.dq, keys, block, std::move(message), std::move(complete)});
}

}  // namespace ringtron::internal
