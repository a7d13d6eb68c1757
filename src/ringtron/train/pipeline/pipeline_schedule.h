// What a rank runs in one training step, instruction by instruction: a pipeline schedule. Without LibTorch.
//
// TrainStep runs the list and decides nothing. Today a pipeline has one stage. Sends and receives of
// activations, and backwards of inputs and of weights apart, will be further instructions.
#pragma once

#include <string>
#include <vector>

namespace ringtron {

struct Instruction {
  enum class Kind { forward, backward };
  Kind kind = Kind::forward;
  int micro_batch = 0;
  int chunk = 0;  // of this rank's stages, in the order of the model

  bool operator==(const Instruction&) const = default;
};

struct PipelineShape {
  int stages = 1;         // ranks along the pipeline axis
  int chunks = 1;         // stages of the model that each of them has
  int micro_batches = 1;  // of one step
};

// One forward, one backward (1F1B): after the forwards that fill the pipeline, each micro-batch's backward as
// soon as it can be, so that at most `stages - rank` micro-batches are in flight. With one stage: forward 0,
// backward 0, forward 1, and so on, each through all chunks. `rank`: along the pipeline axis. A pure
// function. InternalError for several chunks of several stages.
std::vector<Instruction> one_forward_one_backward(const PipelineShape& shape, int rank);

// What is wrong with one rank's list, one line each; empty when it is proven that every micro-batch goes
// forward and backward once through every chunk, forward in the order of the chunks and backward in the
// opposite one, no backward before its forward; that micro-batches begin in the order in which the data
// comes; and that at most `in_flight` have begun and are not over.
std::vector<std::string> check_pipeline_schedule(const std::vector<Instruction>& list, const PipelineShape& shape,
                                                 int in_flight);

}  // namespace ringtron
