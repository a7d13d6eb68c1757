// One optimizer step over its micro-batches, and one evaluation: the same loss path for both.
//
// The objective is the sum of the losses of all unmasked tokens of the global batch divided by their exact
// number, whatever the layout and however masks fall: gradients are summed over micro-batches and over the
// data-context group without any division and scaled once, by 1 / count, in the optimizer.
//
// With --fp16 each token counts loss scale / D in the backward pass, D being the tokens of the global batch rounded
// down to a power of two: so the scale means what it does in Megatron-LM, whose loss is a mean, and is the same in any
// layout. A step whose loss or gradient is not finite changes no weights on any rank.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/data/data_loader.h"
#include "ringtron/data_parallel/gradient_reducer.h"
#include "ringtron/models/gpt.h"
#include "ringtron/optim/gradient_clip.h"
#include "ringtron/pipeline_parallel/pipeline_channels.h"
#include "ringtron/train/batch/device_batch.h"
#include "ringtron/train/job.h"
#include "ringtron/train/nan_check.h"
#include "ringtron/train/report/device_moment.h"
#include "ringtron/train/report/step_timers.h"
#include "ringtron/train/step_result.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

// Of this rank's model in this run.
PipelineShape pipeline_shape(const Job& job, const GptModel& model, int micro_batches);

class TrainStep {
 public:
  // `attention` is the model's.
  TrainStep(const Job& job, const GptModel& model, TrainingState& state, GradientReducer& reducer,
            CpAttention& attention, PipelineChannels& channels);

  // Makes the loss of training from now on; evaluate() keeps the loss of the model.
  void use_loss(LossStep loss) { loss_ = std::move(loss); }

  // Why a rank wants no further step: 0 for no reason. See run_collectively_unless() (agreement.h).
  using Reason = std::function<std::int64_t()>;

  // Waits until all ranks have the data of the next step, or of one batch of an evaluation, and returns 0. If
  // a rank has a reason to stop, returns the largest. Throws on all ranks what reading threw on any, so that
  // no rank starts a step that another cannot take. One agreement. Collective.
  std::int64_t prepare_unless(const Reason& reason, DataLoader& loader) const;

  // Forward and backward of all micro-batches, reduction, clipping, Adam, schedule, progress. Collective. The
  // first time it also proves the exchange, before the weights change: see exchange_check.h.
  StepResult run(DataLoader& loader);

  // In the place of run(), of an iteration that is to be skipped: its samples go by, and the counts that run() moves on
  // go on, but weights, moments and schedule stay. Returns the samples. Collective.
  std::int64_t skip(DataLoader& loader);

  // Throws NumericError, on all ranks, if the loss or the gradient of a step so far was not finite; the
  // weights are as before it. Waits for the device. On a CPU each step asks itself, before the weights
  // change. With --no-check-for-nan-in-loss-and-grad it does nothing.
  void require_finite() const;

  // Brings schedule and step count up to date: whether the last step was skipped for an overflow is known only when the
  // device has come so far, and the next step asks after its own forward and backward have been given to it. Before
  // anything of the state is kept. Does nothing without --fp16.
  void settle();

  // Its first half: leaves the gradients of the objective times the token count in the parameters. What
  // parity proofs compare. Collective.
  struct Gradients {
    at::Tensor loss;    // 0-dim fp64
    at::Tensor scale;   // 0-dim fp64: 1 / unmasked tokens, and what undoes the loss scale
    at::Tensor tokens;  // as in StepResult, and so are these:
    at::Tensor attention_cells, area_imbalance;
  };
  Gradients compute_gradients(DataLoader& loader);

  // What its parts take, as --timing-log-level asks.
  StepTimers& timers() { return timers_; }

  // Its second half, from clipping on. The gradients are of no use afterwards. Collective.
  StepResult apply(const Gradients& gradients);

  // Mean loss over `global_batches` batches of --eval-global-batch-size, forward only, without dropout. Throws as
  // prepare_unless() does. Collective.
  double evaluate(DataLoader& loader, std::int64_t global_batches);
  struct Evaluation {
    double loss = 0.0;
    std::int64_t reason = 0;  // otherwise it was given up, and there is no loss
  };
  // The same over `samples`, which need not fill the last batch: whole micro-batches are read, and those of `loader`
  // must have --eval-micro-batch-size samples. Gives up before a batch for which a rank has a reason; the reason is the
  // same on all ranks.
  Evaluation evaluate_unless(const Reason& reason, DataLoader& loader, std::int64_t samples);

 private:
  std::int64_t micro_batches(std::int64_t global_batch) const;
  std::int64_t next_batch() const { return batches_.batch_at(state_.progress.consumed_train_samples); }
  std::int64_t prepare_micro_batches(const Reason& reason, DataLoader& loader, std::int64_t count) const;
  bool checks_finite() const;
  struct Totals;  // of this rank
  // Runs the list of this rank, and adds up what the last stage sees.
  void run_pipeline(const ForwardPass& pass, bool backward, std::int64_t micro_batches, DataLoader& loader,
                    Totals& totals);
  at::Tensor token_weight() const;
  at::Tensor reduced(const Totals& totals) const;

  const Job& job_;
  const GptModel& model_;
  TrainingState& state_;
  GradientReducer& reducer_;
  CpAttention& attention_;
  PipelineChannels& channels_;
  const BatchSchedule batches_;
  std::int64_t last_batch_ = 0;      // samples of the step before
  const ModelGroup gradient_group_;  // who has the whole model's gradients between them
  NanCheck guard_;
  std::optional<PendingNumbers> skipped_;  // of the last step, on its way
  LossStep loss_;                          // empty: the model's
  StepTimers timers_;
  bool exchange_is_proven_ = false;
};

}  // namespace ringtron
