// Training of a model on a dataset of one's own, one step at a time: model, optimizer, schedule, data and checkpoints
// of this rank behind one object. examples/custom_cp_training.cpp uses all of it.
//
//   Training training(program, config);                  // loads --load, if it holds a checkpoint
//   training.read(dataset);
//   while (training.iteration() < n && training.ready()) training.step();
//   training.save();
//
// Every function that says so is collective: all ranks of the run call it, in the same order. One thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "ringtron/comm/parallel_state.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/data/dataset.h"
#include "ringtron/program/program.h"
#include "ringtron/train/batch/device_batch.h"
#include "ringtron/train/step_result.h"

namespace ringtron {

// What a program puts in the place of the library's own.
struct TrainingParts {
  MakeLayer make_layer = ringtron::make_layer;  // the layers; see models/stage.h
  LossStep loss = {};                           // the loss of a micro-batch; empty: the mean over unmasked tokens
};

class Training {
 public:
  // Meets the other ranks, builds the model, loads the checkpoint of --load (or starts from the initial values, the
  // same under every layout). A configuration that names no data is one whose data the program makes. Memory, the
  // optimizer, its schedule and the sizes of the layout follow from `config`, which may be filled in or not. Throws, on
  // all ranks, ConfigError for a configuration that is not valid, with all its faults, or that does not fit into
  // memory; CommError if a rank does not come; IoError for a damaged checkpoint. `program` must outlive it. Collective.
  Training(Program& program, const Config& config, TrainingParts parts = {});
  ~Training();
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  const ResolvedConfig& config() const;
  const ParallelState& parallel() const;  // this rank's groups, ranks and sizes
  at::Device device() const;

  std::int64_t iteration() const;         // steps done, those before the loaded checkpoint too
  std::int64_t consumed_samples() const;  // by them, of all ranks
  double lr() const;                      // of the next step

  // Takes training data from `dataset` from now on, beginning with the first sample that is not consumed: sample i of
  // the global batch goes to one data-parallel group, whose ranks read it in parts, so read() of the dataset must
  // return the same on all ranks. Its sequence_length() is --seq-length. A thread of the training's own reads ahead.
  // Order: the dataset's own, once, or with --dataloader-type cyclic a new random one each epoch. Throws ConfigError if
  // the length is another. The dataset must outlive the training.
  void read(const Dataset& dataset);

  // Waits until all ranks have the data of the next step. False: a signal (SIGTERM, Ctrl-C, SIGUSR1 and more) has come
  // on some rank; save and return. Throws, on all ranks, what reading the dataset threw on any, and ConfigError at the
  // end of the data. Collective.
  bool ready();

  // Forward and backward of this rank's micro-batches, sum of gradients, clipping, AdamW, schedule. Throws, on all
  // ranks, NumericError when loss or gradient is not finite: on a CPU at once and the weights are as before, on a GPU
  // at the next save(). Collective.
  StepResult step();

  // Mean loss over `global_batches` batches from the start of `dataset`, forward only, without dropout; with the
  // model's own loss. Throws as ready() does. Collective.
  double evaluate(const Dataset& dataset, std::int64_t global_batches);

  // All that training goes on from, into a folder of this iteration under --save; the layout may be another when it is
  // loaded. Does nothing if this iteration is saved, or without --save. Throws IoError, on all ranks; the checkpoints
  // before it are as they were. Collective.
  void save();

  // One line on the last rank, as pretrain_gpt logs; nothing on the others.
  void print(std::string_view line) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ringtron
