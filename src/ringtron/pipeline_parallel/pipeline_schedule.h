// What each rank of a pipeline runs in one training step, instruction by instruction: a pipeline schedule. Without
// LibTorch.
//
// Schedules are pure functions; TrainStep runs their lists and decides nothing. The model is cut into `stages` *
// `chunks` virtual stages, of which number s lies on rank s % stages as its chunk s / stages: with several chunks a
// micro-batch goes around the ranks as often. Ranks hand hidden states on, and their gradients back, through channels,
// one for each direction between two neighbours, each a queue: messages arrive in the order in which they are sent, and
// a send waits for nobody.
//
// Sources: GPipe (Huang et al., arXiv:1811.06965); 1F1B (Narayanan et al., arXiv:2104.04473, section 2.2.1) and
// interleaved (2.2.2); zero-bubble (Qi et al., arXiv:2401.10241: ZB-H1, which needs no more memory than 1F1B).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ringtron/choices/choices.h"

namespace ringtron {

struct Instruction {
  enum class Kind {
    forward,
    backward,  // where the list has weight gradients: of the inputs alone
    weight_gradient,
    // Begins to receive what the forward or the backward of this micro-batch and chunk takes; that waits for it.
    receive_activation,
    receive_gradient,
    // Hands on what the forward or the backward of this micro-batch and chunk made.
    send_activation,
    send_gradient,
  };
  Kind kind = Kind::forward;
  int micro_batch = 0;
  int chunk = 0;  // of this rank, in the order of the model

  bool operator==(const Instruction&) const = default;
};

struct PipelineShape {
  int stages = 1;         // ranks along the pipeline axis
  int chunks = 1;         // virtual stages of each
  int micro_batches = 1;  // of one step
  int group = 0;          // micro-batches that go through one chunk before the next, interleaved; 0: as many as stages
  PipelineScheduleKind schedule = PipelineScheduleKind::one_forward_one_backward;

  // Backwards make gradients of inputs alone: there are weight gradients. With one stage there is nothing to gain.
  bool splits_backward() const { return stages > 1 && schedule == PipelineScheduleKind::zero_bubble; }
  int group_size() const { return group > 0 ? group : stages; }
  // Of one channel under way at a time. From the last rank to the first a group is ahead of what is taken.
  int most_sends() const { return 4 + group_size() - stages; }
  int virtual_stages() const { return stages * chunks; }
  int virtual_stage(int rank, int chunk) const { return chunk * stages + rank; }
};

// "forward 3.1": micro-batch 3, chunk 1.
std::string to_string(const Instruction& instruction);

// Forwards, backwards and weight gradients alone. `rank`: along the pipeline axis.
using PipelineSchedule = std::vector<Instruction>;

// All forwards, then all backwards, the last first. All micro-batches are in flight at the end of the forwards.
PipelineSchedule gpipe(const PipelineShape& shape, int rank);

// One forward, one backward: after the forwards that fill the pipeline, each micro-batch's backward as soon as it can
// be, so that at most `stages - rank` micro-batches are in flight. With one stage: forward 0, backward 0, forward 1,
// and so on, each through all chunks. InternalError for several chunks of several stages.
PipelineSchedule one_forward_one_backward(const PipelineShape& shape, int rank);

// 1F1B over chunks: micro-batches in groups, each group through one chunk after the other, which makes the bubble
// smaller by the number of chunks. The group's size: from `stages` to the number of micro-batches; a last, smaller
// group has at least `stages` micro-batches or is empty. InternalError otherwise.
PipelineSchedule interleaved(const PipelineShape& shape, int rank);

// 1F1B whose backwards make the gradients of inputs alone, so that the stage before waits less; rank r makes weight
// gradients r micro-batches later, so that all ranks keep what the first does with 1F1B, and where it would wait at the
// end. If a forward and the two halves of a backward take the same time, ranks wait a third as long as with 1F1B.
// InternalError for several chunks, and for one stage.
PipelineSchedule zero_bubble(const PipelineShape& shape, int rank);

// The schedule of a training step: shape.schedule, where 1F1B is interleaved if several ranks have several chunks. With
// one stage 1F1B.
PipelineSchedule training_schedule(const PipelineShape& shape, int rank);
// Forwards of its chunks, all together, that a rank has under way in it at the most: until their backward, or the
// weight gradients that it left.
int most_in_flight(const PipelineShape& shape, int rank);
// Of these, how many have been backward and have weight gradients left, at the most.
int most_left(const PipelineShape& shape, int rank);

// Forwards alone, of an evaluation.
PipelineSchedule forward_only(const PipelineShape& shape, int rank);

// The schedule with its messages: each receive begins one forward or backward before the one that takes it, so that it
// is under way meanwhile; each send follows at once. One stage has none.
std::vector<Instruction> with_messages(const PipelineSchedule& schedule, const PipelineShape& shape, int rank);

// The list of one rank, as a function of it.
using ScheduleOfRank = std::function<std::vector<Instruction>(int rank)>;

struct PipelineFacts {
  std::vector<int>
      in_flight;     // by rank: the most forwards, of all chunks, whose backward, or weight gradient, is still to come
  int receives = 0;  // the most messages of one direction that a rank waits for at a time
};

// What is wrong with the lists of all ranks together, one line each; empty when it is proven that every micro-batch
// goes forward and, unless `forwards_only`, backward once through every virtual stage, in the order of the model and
// back; that each backward has its weight gradient, once, after it, if the shape splits backwards, and else none; that
// every rank begins micro-batches in the order in which the data comes; that all messages are sent once, received once
// and taken out of each channel in the order in which they were put in, none after the instruction that needs it; and
// that no rank waits for ever. Fills `facts` where nothing is wrong.
std::vector<std::string> check_pipeline(const ScheduleOfRank& lists, const PipelineShape& shape,
                                        bool forwards_only = false, PipelineFacts* facts = nullptr);

}  // namespace ringtron
