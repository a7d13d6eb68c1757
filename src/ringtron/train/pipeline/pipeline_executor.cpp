#include "ringtron/train/pipeline/pipeline_executor.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {

using Kind = Instruction::Kind;

PipelineExecutor::PipelineExecutor(const GptModel& model, PipelineChannels& channels, Options options, NextBatch next,
                                   TakeLosses take)
    : model_(model),
      channels_(channels),
      options_(std::move(options)),
      next_(std::move(next)),
      take_(std::move(take)) {}

// Micro-batches begin in the order in which the data comes: the list is so.
PipelineExecutor::InFlight& PipelineExecutor::micro_batch(int number) {
  for (; begun_ <= number; ++begun_) {
    const StepTimers::Span span(options_.timers, StepPart::batch_generator);
    in_flight_.emplace(begun_,
                       InFlight{next_(), std::vector<InFlight::OfChunk>(static_cast<std::size_t>(model_.chunks()))});
  }
  return in_flight_.at(number);
}

PipelineExecutor::InFlight::OfChunk& PipelineExecutor::at(const Instruction& next) {
  return micro_batch(next.micro_batch).chunks[static_cast<std::size_t>(next.chunk)];
}

at::Tensor PipelineExecutor::empty_hidden(int number) {
  const auto shape = model_.chunk(0).hidden_shape(micro_batch(number).batch.input);
  return at::empty(shape, at::TensorOptions().dtype(options_.type).device(options_.device));
}

void PipelineExecutor::run(std::span<const Instruction> list) {
  begun_ = 0;
  splits_backward_ = std::ranges::count(list, Kind::weight_gradient, &Instruction::kind) > 0;
  for (const Instruction& next : list) {
    run(next);
    if (ends_in(next)) in_flight_.erase(next.micro_batch);
  }
  RT_CHECK(in_flight_.empty(), "{} micro-batches are not done at the end of their list", in_flight_.size());
  channels_.finish();
}

// The last that this rank does for a micro-batch: it sends the gradient of what came in first, or has none to send; or
// it makes the weight gradients that were left.
// Without backwards it hands on the last chunk's result, or has the loss.
bool PipelineExecutor::ends_in(const Instruction& next) const {
  if (options_.backward) {
    if (next.chunk != 0) return false;
    if (splits_backward_) return next.kind == Kind::weight_gradient;
    return next.kind == (model_.chunk(0).has_embedding() ? Kind::backward : Kind::send_gradient);
  }
  const int last = model_.chunks() - 1;
  if (next.chunk != last) return false;
  return next.kind == (model_.chunk(last).has_output() ? Kind::forward : Kind::send_activation);
}

void PipelineExecutor::run(const Instruction& next) {
  switch (next.kind) {
    case Kind::receive_activation: {
      at(next).input = empty_hidden(next.micro_batch);
      at(next).receiving = channels_.receive_activation(at(next).input);
      return;
    }
    case Kind::receive_gradient: {
      at(next).gradient = empty_hidden(next.micro_batch);
      at(next).receiving = channels_.receive_gradient(at(next).gradient);
      return;
    }
    case Kind::send_activation: {
      const StepTimers::Span span(options_.timers, StepPart::forward_send);
      return channels_.send_activation(at(next).output.detach().contiguous());
    }
    case Kind::send_gradient: {
      const StepTimers::Span span(options_.timers, StepPart::backward_send);
      return channels_.send_gradient(at(next).input.grad().contiguous());
    }
    case Kind::forward:
      return forward(next);
    case Kind::backward:
      return backward(next);
    case Kind::weight_gradient: {
      const StepTimers::Span span(options_.timers, StepPart::backward_compute);
      return at(next).weight_gradients.run();
    }
  }
}

void PipelineExecutor::wait(Work& receiving, StepPart part) {
  const StepTimers::Span span(options_.timers, part);
  std::exchange(receiving, {}).wait();
}

void PipelineExecutor::forward(const Instruction& next) {
  InFlight& all = micro_batch(next.micro_batch);
  InFlight::OfChunk& own = at(next);
  const Stage& stage = model_.chunk(next.chunk);
  if (own.input.defined()) {
    wait(own.receiving, StepPart::forward_recv);
  } else if (!stage.has_embedding()) {  // of the chunk before, on this rank
    own.input = all.chunks[static_cast<std::size_t>(next.chunk) - 1].output.detach();
  }
  if (own.input.defined() && options_.backward) own.input.requires_grad_();
  const StepTimers::Span span(options_.timers, StepPart::forward_compute);
  ForwardPass pass = options_.pass;
  if (splits_backward_) pass.later = &own.weight_gradients;
  at::Tensor out = stage.forward(own.input, all.batch.input, pass);
  if (stage.has_output()) {
    DeviceBatch scaled = all.batch;
    if (options_.loss_scale.defined()) scaled.loss_mask = scaled.loss_mask * options_.loss_scale;
    const TokenLosses losses =
        options_.loss ? options_.loss(stage, out, scaled) : stage.loss(out, scaled.input, scaled.loss_mask);
    take_(losses.each, all.batch);
    out = losses.weighted_sum;
  }
  own.output = std::move(out);
}

void PipelineExecutor::backward(const Instruction& next) {
  InFlight::OfChunk& own = at(next);
  const Stage& stage = model_.chunk(next.chunk);
  if (own.gradient.defined()) {
    wait(own.receiving, StepPart::backward_recv);
  } else if (stage.has_output()) {
    own.gradient = at::ones_like(own.output);
  } else {  // of the chunk behind, on this rank
    own.gradient = micro_batch(next.micro_batch).chunks[static_cast<std::size_t>(next.chunk) + 1].input.grad();
  }
  const StepTimers::Span span(options_.timers, StepPart::backward_compute);
  torch::autograd::backward({own.output}, {own.gradient});
  own.output.reset();
  own.gradient.reset();
}

}  // namespace ringtron
