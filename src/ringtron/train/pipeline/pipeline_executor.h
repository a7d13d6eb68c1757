// Runs a list of instructions (pipeline_parallel/pipeline_schedule.h) on this rank's stages of the model. It decides
// nothing: what is run when, and when messages begin, stands in the list.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <span>
#include <vector>

#include "ringtron/models/gpt.h"
#include "ringtron/pipeline_parallel/pipeline_channels.h"
#include "ringtron/pipeline_parallel/pipeline_schedule.h"
#include "ringtron/tensor_parallel/weight_gradient_queue.h"
#include "ringtron/train/batch/device_batch.h"
#include "ringtron/train/report/step_timers.h"

namespace ringtron {

class PipelineExecutor {
 public:
  struct Options {
    ForwardPass pass;
    bool backward = true;  // false: forwards alone, outside the graph
    at::ScalarType type;   // of hidden states, and the device
    at::Device device = at::kCPU;
    LossStep loss = {};          // empty: the model's
    at::Tensor loss_scale = {};  // one element, on the device: what tokens count in the backward; undefined: 1
    StepTimers* timers = nullptr;
  };
  // The next micro-batch of the data, which all ranks of a pipeline read alike.
  using NextBatch = std::function<DeviceBatch()>;
  // On the rank with the output layer: losses of a micro-batch, [s, b].
  using TakeLosses = std::function<void(const at::Tensor& each, const DeviceBatch& batch)>;

  // The arguments outlive it.
  PipelineExecutor(const GptModel& model, PipelineChannels& channels, Options options, NextBatch next, TakeLosses take);

  // All of the list, in order; returns when the last message of this rank has been sent. All ranks of the pipeline run
  // theirs together, each as check_pipeline() proves. CommError from messages; what a stage throws. Collective as
  // stages are.
  void run(std::span<const Instruction> list);

 private:
  // A micro-batch between its first instruction and its last.
  struct InFlight {
    DeviceBatch batch;
    struct OfChunk {
      // Hidden states as they come in, a leaf whose gradient goes to the stage before; what the chunk returned, which
      // holds its graph until its backward: of the last chunk of the model that is the loss, summed; and the gradient
      // of it that comes in.
      at::Tensor input, output, gradient;
      Work receiving;
      WeightGradientQueue weight_gradients;  // that its backward left
    };
    std::vector<OfChunk> chunks;
  };

  void run(const Instruction& next);
  void forward(const Instruction& next);
  void backward(const Instruction& next);
  InFlight& micro_batch(int number);
  InFlight::OfChunk& at(const Instruction& next);
  at::Tensor empty_hidden(int micro_batch_number);
  bool ends_in(const Instruction& next) const;
  void wait(Work& receiving, StepPart part);

  const GptModel& model_;
  PipelineChannels& channels_;
  Options options_;
  NextBatch next_;
  TakeLosses take_;
  int begun_ = 0;
  bool splits_backward_ = false;       // the list has weight gradients
  std::map<int, InFlight> in_flight_;  // by number
};

}  // namespace ringtron
