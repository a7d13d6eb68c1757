// A TrainingState into a checkpoint folder.
//
// Tensors are saved under logical names: "model.NAME" in the compute type; "optimizer.main.NAME" where main weights are
// copies (bf16, fp16); "optimizer.exp_avg.NAME" and the other moments of its rule (UpdateRule::moments()). Context- and
// data-parallel replicas hold the same bits; they share the writing: replica i writes every size-th parameter. With a
// distributed optimizer each writes what it owns, of parameters as well.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "ringtron/checkpoint/checkpoint_writer.h"
#include "ringtron/telemetry/log_line.h"
#include "ringtron/train/job.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

class CheckpointSaver {
 public:
  explicit CheckpointSaver(const Job& job);
  // Writes through `files`, which outlives it: of a save beside training also from a thread.
  CheckpointSaver(const Job& job, FileSystem& files);
  ~CheckpointSaver();  // waits for a save under way, which then is not published

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

  // The same in two halves, between which training goes on (--async-save). begin() copies this rank's part to the host
  // and starts to write it on a thread; finish() waits for all ranks and publishes. The copy's memory is kept for the
  // next. Each is collective and throws as save() does; after a throw no save is under way. One at a time.
  void begin(const TrainingState& state);
  void finish();
  bool is_under_way() const { return under_way_ != nullptr; }
  std::int64_t iteration_under_way() const;
  // Whether all ranks have written their parts, so that finish() returns at once. Collective.
  bool has_been_written() const;

  // Of the save that has been published last; the same on all ranks but for the times, which are this rank's.
  const TransferRecord& last_save() const { return last_save_; }

  // For a message: the newest complete checkpoint in --save, or that there is none.
  std::string resume_advice() const;

 private:
  struct UnderWay;
  bool saves() const;
  void start(const TrainingState& state, bool beside_training);
  void abandon();
  void remove_before(const Lineage& lineage, std::int64_t iteration);
  std::uint64_t of_all_stages(std::uint64_t of_stage) const;

  const Job& job_;
  DiskFileSystem disk_;
  FileSystem& files_;
  std::unique_ptr<SaveLease> lease_;        // on rank 0
  const std::string run_ = new_run_name();  // this run's in the lineage of its checkpoints; rank 0's counts
  TransferRecord last_save_;
  std::int64_t save_number_ = 0;     // of the last save; 0: none yet
  std::vector<at::Tensor> staging_;  // of saves beside training: this rank's part, kept from one to the next
  std::unique_ptr<UnderWay> under_way_;
};

}  // namespace ringtron
