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
      streams_(saved.q.device(), kernels_.apart(saved.q)),
      cut_(cut()) {}

// Where attends do not run beside each other a filler gains nothing, and leaves less time to the message after it.
HeadCut BackwardAttends::cut() const {
  const std::int64_t groups = saved_.k.size(2);
  const bool pays = context_.heads_divide && (!saved_.q.is_cuda() || pays_to_cut(groups, saved_.k.size(3), saved_.v.size(3)));
  const bool fills = pays && (streams_.apart() || context_.fillers == CpFillers::always);
  return plan_.gathers ? cut_in_three(groups, pays, fills) : cut_in_two(groups, fills);
}

void BackwardAttends::of_step(std::size_t step, const HeldBlocks& held) {
  for (const StepCall& planned : kernels_.of_step(step)) {
    const AttendCall call(context_, plan_.rank, planned.attend, saved_.q.size(2), saved_.k.size(2), cut_);
    if (!call.has_heads()) continue;
    attend(step, planned, call, held);
    if (results_.size() < (streams_.apart() ? kMostWaiting : 1)) continue;
    add_all(step);
    streams_.inputs_are_given();  // the memory of what was added is free for later attends
  }
}

void BackwardAttends::add_what_leaves(std::size_t step) {
  const std::vector<Message>& sends = plan_.steps[step].sends;
  add(step, [&](const Result& result) {
    const int owner = result.attend.owner;
    return std::ranges::any_of(sends, [&](const Message& m) {
      return m.payload != Payload::key_value && (owner == m.owner || owner == kWholeSequence);
    });
  });
}

void BackwardAttends::add_all(std::size_t step) {
  add(step, [](const Result&) { return true; });
}

template <class Predicate>
void BackwardAttends::add(std::size_t step, const Predicate& wanted) {
  if (std::ranges::none_of(results_, wanted)) return;
  const Observed observed(context_.observer, "merge", static_cast<int>(step));
  for (Result& result : results_) {
    if (!wanted(result)) continue;
    if (result.room.rows.k.defined()) zero_the_rest(result.room);
    streams_.wait(result.complete);
    if (result.attend.sample == kEverySample) {
      dq_.add(result.attend.q, result.dq, whole_.scale);
    } else {
      dq_.add_sample(result.attend.q, result.attend.sample, result.dq, whole_.scale);
    }
    sums_.add(result.attend, result.piece, result.keys);
  }
  std::erase_if(results_, wanted);
}

at::Tensor BackwardAttends::dq() {
  RT_CHECK(in_parts_.empty() && results_.empty(), "gradients of attends that a backward plan has not ended");
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

BlockGradient BackwardAttends::part_room(const AttendCall& call, const Attend& attend, const KeyValue& block) {
  const auto parts = parts_of(attend);
  if (parts != waiting_.end()) streams_.wait(parts->room);
  BlockGradient room = in_parts_.room(attend, call.heads(), call.rows_of_queries(saved_.q), call.of_sample(block.k, 1),
                                      call.of_sample(block.v, 1));
  if (parts == waiting_.end()) waiting_.push_back({of_all_heads(attend), streams_.mark(), {}});
  return room;
}

std::optional<BlockGradient> BackwardAttends::whole_of(const AttendCall& call, const Attend& attend, const BlockGradient& part) {
  const auto parts = parts_of(attend);
  RT_CHECK(parts != waiting_.end(), "a part of the heads has no room");
  for (AttendStreams::Mark& complete : parts->complete) streams_.wait(complete);
  std::optional<BlockGradient> whole = in_parts_.put(attend, call.heads(), part);
  if (whole) {
    waiting_.erase(parts);
  } else {
    parts->complete.push_back(streams_.mark());
  }
  return whole;
}

std::vector<BackwardAttends::Parts>::iterator BackwardAttends::parts_of(const Attend& attend) {
  return std::ranges::find(waiting_, of_all_heads(attend), &Parts::attend);
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
  if (call.is_part()) {
    room = part_room(call, attend, block);
    single.into = &room;
  } else if (!planned.batch && (message = message_room(attend, piece, block)).rows.k.defined()) {
    const auto place = [&](const at::Tensor& rows) { return rows.narrow(0, message.written.begin, message.written.length()); };
    room = {at::empty(queries.sizes(), queries.options()), place(message.rows.k), place(message.rows.v)};
    single.into = &room;
  }
  const Observed observed(context_.observer, "attend", static_cast<int>(step));
  BlockGradient gradient = kernels_.backward(planned, queries, call.keys(block.k), call.keys(block.v), call.output(whole_.output), single);
  call.count(cells_of(planned, queries, block.k));
  if (call.is_part()) {
    std::optional<BlockGradient> whole = whole_of(call, attend, gradient);
    if (!whole) return;
    gradient = std::move(*whole);
  }
  const std::int64_t heads = saved_.k.size(2);
  KeyValue keys{call.key_gradient(gradient.dk, heads), call.key_gradient(gradient.dv, heads)};
  if (message.rows.k.defined() && keys.k.is_alias_of(message.rows.k) && keys.v.is_alias_of(message.rows.v)) {
    keys = message.rows;
    attend.kv = piece;
  } else {
    message = {};  // the kernel has put them elsewhere
  }
  AttendStreams::Mark complete = streams_.gives({gradient.dq, keys.k, keys.v});
  results_.push_back({attend, piece, gradient.dq, keys, block, std::move(message), std::move(complete)});
}

}  // namespace ringtron::internal
