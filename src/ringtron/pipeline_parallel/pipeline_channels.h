// What passes between the ranks of a pipeline: hidden states to the next stage, their gradients to the one before.
//
// A channel is a group of two ranks of its own, one for each direction between two neighbours, so that messages of one
// kind neither wait for others nor for a device's compute (message_queue.h). Messages of a channel arrive in the order
// in which they are sent: pipeline_schedule.h proves that the lists of all ranks agree in it.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/comm/communicator.h"
#include "ringtron/comm/parallel_state.h"
#include "ringtron/pipeline_parallel/message_queue.h"
#include "ringtron/pipeline_parallel/pipeline_schedule.h"

namespace ringtron {

class PipelineChannels {
 public:
  // `shape`: its micro-batches do not matter; `device`: of the tensors. Connects this rank with its
  // neighbours, and the first rank with the last, in one order on all ranks; of a pipeline of one rank it does nothing.
  // CommError if a peer does not come. Collective over the pipeline axis; `parallel` outlives it.
  PipelineChannels(const ParallelState& parallel, const PipelineShape& shape, at::Device device);
  // NCCL's ranks meet once more where a group ends: collective too, unless an exception is on its way.
  ~PipelineChannels();
  PipelineChannels(const PipelineChannels&) = delete;
  PipelineChannels& operator=(const PipelineChannels&) = delete;

  // Contiguous tensors, of the shape and type that the other side receives into. send_*: the tensor is kept until it
  // has been sent; beyond shape.most_sends() of a channel the oldest is waited for.
  void send_activation(at::Tensor hidden) { existing(activations_out_).send(std::move(hidden)); }
  void send_gradient(at::Tensor gradient) { existing(gradients_out_).send(std::move(gradient)); }
  // Begin to receive into the tensor, which may be used after the Work.
  Work receive_activation(const at::Tensor& into) { return existing(activations_in_).receive(into); }
  Work receive_gradient(const at::Tensor& into) { return existing(gradients_in_).receive(into); }

  // Waits for all sends. CommError as any operation.
  void finish();

  // The first and the last rank of the pipeline, on these: they hold the word embedding both, where it is tied to the
  // output layer.
  Communicator& ends() const;

 private:
  template <class Queue>
  static Queue& existing(std::optional<Queue>& queue) {
    RT_CHECK(queue.has_value(), "a message to or from a stage that does not exist");
    return *queue;
  }

  std::vector<std::unique_ptr<Communicator>> groups_;  // in the order in which they were connected
  std::optional<MessageSender> activations_out_, gradients_out_;
  std::optional<MessageReceiver> activations_in_, gradients_in_;
  Communicator* ends_ = nullptr;
};

}  // namespace ringtron
