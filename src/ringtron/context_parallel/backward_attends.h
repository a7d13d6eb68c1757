// The attends of a backward, beside each other where that is worth it, and the sums of what they give.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "ringtron/context_parallel/attend_call.h"
#include "ringtron/context_parallel/attend_streams.h"
#include "ringtron/context_parallel/held_blocks.h"
#include "ringtron/context_parallel/part_gradients.h"
#include "ringtron/context_parallel/plan_runner.h"
#include "ringtron/context_parallel/row_sum.h"
#include "ringtron/context_parallel/step_calls.h"

namespace ringtron::internal {

// The final output and its gradient as blocks want them.
struct BlockOutput {
  OutputGradient output;
  at::Tensor scale;  // a factor of all gradients that blocks give; undefined: none
};

BlockOutput output_for_blocks(const PlanContext& context, const SavedForward& saved, const at::Tensor& d_out);

// References must outlive it.
class BackwardAttends {
 public:
  BackwardAttends(const ExchangePlan& plan, const PlanContext& context, const SavedForward& saved, const BlockOutput& whole,
                  GradientSums& sums);

  AttendStreams& streams() { return streams_; }

  void of_step(std::size_t step, const HeldBlocks& held);

  // Into the sums with what the attends gave to the gradients that this step sends. Later attends go on.
  void add_what_leaves(std::size_t step);
  // The same with everything. `step`: for an observer.
  void add_all(std::size_t step);

  // After add_all().
  at::Tensor dq();

 private:
  // Rows of keys that leave as one message, if one attend alone gives their gradients and sees only some of them: these go to
  // their place there and leave as they are, without a pass over memory that puts zeros around them.
  struct MessageRoom {
    KeyValue rows;          // undefined: no such message
    PositionRange written;  // the others are to be zero
    AttendStreams::Mark given;
  };

  struct Result {
    Attend attend;
    PositionRange piece;  // the held rows of which the attend's keys are a part
    at::Tensor dq;
    KeyValue keys;
    KeyValue read;     // stays in memory until the attend is done
    MessageRoom room;  // that the keys lie in
    AttendStreams::Mark complete;
  };

  // What has come of an attend in parts of the heads.
  struct Parts {
    Attend attend;  // of all heads
    AttendStreams::Mark room;
    std::vector<AttendStreams::Mark> complete;
  };

  HeadCut cut() const;
  void attend(std::size_t step, const StepCall& planned, const AttendCall& call, const HeldBlocks& held);
  template <class Predicate>
  void add(std::size_t step, const Predicate& wanted);

  // In an attend's stream.
  bool leaves_alone(const Attend& attend, const PositionRange& piece) const;
  MessageRoom message_room(const Attend& attend, const PositionRange& piece, const KeyValue& block);
  // In the current one.
  void zero_the_rest(MessageRoom& room);

  // In the stream of an attend with a part of the heads: room for what it gives, and then, of what it gave, that of all heads,
  // or nothing as long as another part is to come.
  BlockGradient part_room(const AttendCall& call, const Attend& attend, const KeyValue& block);
  std::optional<BlockGradient> whole_of(const AttendCall& call, const Attend& attend, const BlockGradient& part);
  std::vector<Parts>::iterator parts_of(const Attend& attend);

  const ExchangePlan& plan_;
  const PlanContext& context_;
  const SavedForward& saved_;
  const BlockOutput& whole_;
  GradientSums& sums_;
  StepCalls kernels_;
  RowSum dq_;
  PartGradients in_parts_;
  std::vector<Parts> waiting_;   // of these: what streams have to wait for
  std::vector<Result> results_;  // until they are added
  AttendStreams streams_;        // goes before these, and waits for all that they keep
  HeadCut cut_;
};

}  // namespace ringtron::internal
