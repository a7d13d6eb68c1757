// Runs and times attention of one layer over a group of ranks, on any device.
//
//   LayerBench bench(group, layer, {});
//   const std::vector<double> seconds = bench.time_steps({.warmup = 3, .repeats = 20});
//
// All ranks of the group make it and call it alike. Every step gets fresh random q, k, v and d_out: a
// repeated batch draws less power, and a GPU then runs faster than it does in training. A step is timed from
// one synchronised point of the device's own stream to the next: steady_clock on a CPU; events on a GPU,
// where the next step is queued meanwhile, as in training.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/schedule/schedule.h"
#include "ringtron/context_parallel/schedule/transport_choice.h"

namespace ringtron {

struct LayerSetup {
  AttentionShape shape;  // of one tensor-parallel rank
  AttentionCall call;    // its shape must be set; every sample has its document boundaries, or none has
  at::ScalarType type = at::kFloat;
  at::Device device = at::kCPU;

  const SequenceLayout& layout() const { return call.shape->layout; }
  std::vector<AttentionMask> masks() const;  // one for all samples, or one for each
  // Cells of the mask of all samples and heads, of all ranks together.
  double cells() const;
};

// Equal work for one rank: the same layer on the shortest prefix of the sequence that has 1/ranks of the
// cells or more.
LayerSetup equal_work_of_one_rank(const LayerSetup& layer);

struct Repeats {
  int warmup = 2;
  int repeats = 10;
  // Told how many of both are done, rising, at last of all; may be empty. On a GPU, warm-up counts as queued.
  std::function<void(int done)> on_done = {};
};

class LayerBench {
 public:
  // `group` and options.observer must outlive it.
  LayerBench(Communicator& group, const LayerSetup& layer, const CpAttentionOptions& options);

  // Seconds of each repeat on the slowest rank, on all ranks.
  std::vector<double> time_steps(const Repeats& repeats);  // forward and backward
  std::vector<double> time_forward(const Repeats& repeats);

  // Between its two passes, for observers: what follows is the forward, or the backward.
  struct Passes {
    virtual ~Passes() = default;
    virtual void begin_forward() {}
    virtual void begin_backward() {}
  };
  void run_once(Passes& passes);

  // Bytes that this rank sent in one step; runs one.
  std::int64_t count_bytes();

 private:
  struct Inputs {
    at::Tensor q, k, v, d_out;
  };
  Inputs fresh_inputs() const;
  at::Tensor forward(const Inputs& inputs);

  Communicator& group_;
  LayerSetup layer_;
  std::unique_ptr<CpAttention> attention_;
};

// Seconds of each repeat of the messages alone, on the slowest rank.
std::vector<double> time_transfers(Communicator& group, const std::vector<SizedExchange>& transfers, at::Device device,
                                   const Repeats& repeats);

// Of every rank of the group, in rank order. Collective.
std::vector<std::int64_t> gather_numbers(Communicator& group, std::int64_t number, at::Device device);

}  // namespace ringtron
