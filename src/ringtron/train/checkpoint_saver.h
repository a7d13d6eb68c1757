// A TrainingState into a checkpoint folder.
//
// Tensors are saved under logical names: "model.NAME" in the compute type; "optimizer.main.NAME" where main weights are
// copies (bf16); "optimizer.exp_avg.NAME", "optimizer.exp_avg_sq.NAME". Context- and data-parallel replicas hold the same
// bits; they share the writing: replica i writes every size-th parameter.
#pragma once

#include <memory>

#include "ringtron/checkpoint/checkpoint_writer.h"
#include "ringtron/train/job.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

class CheckpointSaver {
 public:
  // Takes the lease on --save at the first save.
  explicit CheckpointSaver(const Job& job) : job_(job) {}

  // Makes the folder of --save and writes a file there, so that a wrong path shows before hours of training do. Collective;
  // throws IoError on all ranks. Does nothing without --save.
  void demand_folder();

  // Collective over all ranks. All of them return, or all throw (IoError: disk full and the like; the previous
  // checkpoint is untouched).
  void save(const TrainingState& state);

 private:
  const Job& job_;
  DiskFileSystem files_;
  std::unique_ptr<SaveLease> lease_;  // on rank 0
};

}  // namespace ringtron
