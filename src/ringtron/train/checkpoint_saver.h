// A TrainingState into a checkpoint folder.
//
// Tensors are saved under logical names: "model.NAME" in the compute type; "optimizer.main.NAME" where main weights are
// copies (bf16); "optimizer.exp_avg.NAME", "optimizer.exp_avg_sq.NAME". Context- and data-parallel replicas hold the
// same bits; they share the writing: replica i writes every size-th parameter. With a distributed optimizer each writes
// what it owns, of parameters as well.
#pragma once

#include <memory>
#include <string>

#include "ringtron/checkpoint/checkpoint_writer.h"
#include "ringtron/train/job.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

class CheckpointSaver {
 public:
  explicit CheckpointSaver(const Job& job) : job_(job) {}

  // Before any work: takes the lease on --save, and sees that all machines can write there. Collective; throws on all
  // ranks: ConfigError if another run saves there, IoError if the folder cannot be made, written or is not shared. Does
  // nothing if the run will save nothing (no --save, or --skip-train).
  void require_folder();

  // Says on rank 0, after --load and before the first step, which checkpoints the folder of --save holds that this run
  // does not go on from, and which names of coming saves are taken by something that cannot be moved. Collective;
  // throws IoError on all ranks if the folder cannot be read.
  void report_other_runs(const TrainingState& state, std::int64_t train_iterations);

  // Warns on rank 0 if the free space is less than the run's checkpoints take, and on a rank whose file would be above
  // the limit on file sizes. Collective.
  void warn_of_space(const TrainingState& state, std::int64_t train_iterations) const;

  // Collective over all ranks. All of them return, or all throw (IoError: disk full and the like; ConfigError: the lock
  // file was removed, and another run has taken the folder). The previous checkpoint is untouched, what the failed save
  // has left is removed, and a later save may work.
  void save(const TrainingState& state);

  // For a message: the newest complete checkpoint in --save, or that there is none.
  std::string resume_advice() const;

 private:
  bool saves() const;
  std::uint64_t of_all_stages(std::uint64_t of_stage) const;

  const Job& job_;
  DiskFileSystem files_;
  std::unique_ptr<SaveLease> lease_;        // on rank 0
  const std::string run_ = new_run_name();  // this run's in the lineage of its checkpoints; rank 0's counts
  std::int64_t save_number_ = 0;            // of the last save; 0: none yet
};

}  // namespace ringtron
