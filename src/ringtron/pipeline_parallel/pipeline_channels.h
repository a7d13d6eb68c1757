// What passes between the ranks of a pipeline: hidden states to the next stage, their gradients to the one before.
//
// A channel is a group of two ranks of its own, one for each direction between two neighbours, so that messages of one
// kind neither wait for others nor for a device's compute. Each goes as a broadcast in it, which both back ends begin
// without waiting for the other rank. Messages of a channel arrive in the order in which they are sent:
// pipeline_schedule.h proves that the lists of all ranks agree in it.
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/parallel_state.h"
#include "ringtron/pipeline_parallel/pipeline_schedule.h"

namespace ringtron {

class PipelineChannels {
 public:
  // `shape`: its micro-batches do not matter. Connects this rank with its
  // neighbours, and the first rank with the last, in one order on all ranks; of a pipeline of one rank it does nothing.
  // CommError if a peer does not come. Collective over the pipeline axis; `parallel` outlives it.
  PipelineChannels(const ParallelState& parallel, const PipelineShape& shape);
  // NCCL's ranks meet once more where a group ends: collective too, unless an exception is on its way.
  ~PipelineChannels();
  PipelineChannels(const PipelineChannels&) = delete;
  PipelineChannels& operator=(const PipelineChannels&) = delete;

  // Contiguous tensors, of the shape and type that the other side receives into. send_*: the tensor is kept until it
  // has been sent; beyond shape.most_sends() of a channel the oldest is waited for.
  void send_activation(at::Tensor hidden) { activations_out_.send(std::move(hidden)); }
  void send_gradient(at::Tensor gradient) { gradients_out_.send(std::move(gradient)); }
  // Begin to receive into the tensor, which may be used after the Work.
  Work receive_activation(const at::Tensor& into) { return activations_in_.receive(into); }
  Work receive_gradient(const at::Tensor& into) { return gradients_in_.receive(into); }

  // Waits for all sends. CommError as any operation.
  void finish();

  // The first and the last rank of the pipeline, on these: they hold the word embedding both, where it is tied to the
  // output layer.
  Communicator& ends() const;

 private:
  class Out {
   public:
    void send(at::Tensor tensor);
    void finish();
    Communicator* group = nullptr;
    std::size_t most = 0;  // sends under way

   private:
    std::deque<std::pair<at::Tensor, Work>> under_way_;
  };
  struct In {
    Work receive(const at::Tensor& into);
    Communicator* group = nullptr;
  };

  std::vector<std::unique_ptr<Communicator>> groups_;  // in the order in which they were connected
  Out activations_out_, gradients_out_;
  In activations_in_, gradients_in_;
  Communicator* ends_ = nullptr;
};

}  // namespace ringtron
