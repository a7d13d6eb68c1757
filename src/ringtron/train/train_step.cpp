#include "ringtron/train/train_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <span>

#include "ringtron/pipeline_parallel/pipeline_schedule.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/exchange_check.h"
#include "ringtron/train/pipeline/pipeline_executor.h"
#include "ringtron/train/training_data.h"

namespace ringtron {
namespace {

ModelGroup gradient_group(const Job& job) {
  const ParallelState& parallel = job.parallel();
  const AxisSet model = Axis::tensor | Axis::pipeline;
  return {parallel.group(job.config()->parallel.use_distributed_optimizer ? model | kDataContextAxes : model),
          parallel.tp_rank()};
}

}  // namespace

struct TrainStep::Totals {
  at::Tensor loss_sum;
  std::int64_t tokens = 0;
  double attention_cells = 0.0, area_imbalance = 0.0;

  explicit Totals(at::Device device) : loss_sum(at::zeros({}, at::TensorOptions().dtype(at::kDouble).device(device))) {}

  void add(const at::Tensor& losses, const DeviceBatch& batch) {
    loss_sum += (losses.to(at::kDouble) * batch.loss_mask).sum();
    tokens += batch.unmasked_tokens;
    if (batch.shape == nullptr) return;
    attention_cells += batch.shape->attention_cells;
    area_imbalance += batch.shape->area_imbalance;
  }
};

TrainStep::TrainStep(const Job& job, const GptModel& model, TrainingState& state, GradientReducer& reducer,
                     CpAttention& attention, PipelineChannels& channels)
    : job_(job),
      model_(model),
      state_(state),
      reducer_(reducer),
      attention_(attention),
      channels_(channels),
      batches_(batch_schedule(job.config())),
      gradient_group_(gradient_group(job)),
      guard_(job.device()),
      timers_(job.device(), job.config()->logging.timing_log_level) {}

PipelineShape pipeline_shape(const Job& job, const GptModel& model, int micro_batches) {
  return {job.parallel().pp_size(), model.chunks(), micro_batches,
          job.config()->parallel.microbatch_group_size_per_virtual_pipeline_stage,
          job.config()->parallel.pipeline_schedule};
}

std::int64_t TrainStep::micro_batches(std::int64_t global_batch) const {
  return global_batch / (static_cast<std::int64_t>(job_.config()->batch.micro_batch_size) * job_.parallel().dp_size());
}

// [sum of losses, unmasked tokens] over the whole global batch, and with document masks [attention cells,
// imbalance] of its micro-batches. fp64 holds counts exactly up to 2^53. Of a pipeline the last stage has seen them,
// and the others have zeros.
at::Tensor TrainStep::reduced(const Totals& totals) const {
  const auto number = [&](double value) { return at::full_like(totals.loss_sum, value); };
  std::vector<at::Tensor> parts = {totals.loss_sum, number(static_cast<double>(totals.tokens))};
  if (job_.config()->data.reset_attention_mask) {
    // All context ranks count the same whole samples.
    const double context_ranks = job_.parallel().cp_size();
    parts.push_back(number(totals.attention_cells / context_ranks));
    parts.push_back(number(totals.area_imbalance / context_ranks));
  }
  at::Tensor all = at::stack(parts);
  const ParallelState& parallel = job_.parallel();
  Communicator& group =
      parallel.pp_size() == 1 ? parallel.data_context() : parallel.group(kDataContextAxes | Axis::pipeline);
  group.all_reduce(all).wait();
  return all;
}

std::int64_t TrainStep::prepare_unless(const Reason& reason, DataLoader& loader) const {
  return prepare_micro_batches(reason, loader, micro_batches(next_batch()));
}

std::int64_t TrainStep::prepare_micro_batches(const Reason& reason, DataLoader& loader, std::int64_t count) const {
  return run_collectively_unless(job_.world(), reason, [&] { loader.prepare(count); });
}

void TrainStep::run_pipeline(const ForwardPass& pass, bool backward, std::int64_t micro_batches, DataLoader& loader,
                             Totals& totals) {
  const PipelineShape shape = pipeline_shape(job_, model_, static_cast<int>(micro_batches));
  const int rank = job_.parallel().pp_rank();
  const PipelineSchedule schedule = backward ? training_schedule(shape, rank) : forward_only(shape, rank);
  PipelineExecutor executor(
      model_, channels_,
      {pass, backward, job_.compute_type(), job_.device(), backward ? loss_ : LossStep(),
       backward ? token_weight() : at::Tensor(), backward ? &timers_ : nullptr},
      [&] { return to_device(loader.next(), job_); },
      [&](const at::Tensor& each, const DeviceBatch& batch) { totals.add(each, batch); });
  executor.run(with_messages(schedule, shape, rank));
}

// Of the loss scale; undefined: 1.
at::Tensor TrainStep::token_weight() const {
  if (!state_.loss_scale) return {};
  const auto tokens = static_cast<std::uint64_t>(next_batch() * job_.config()->model.seq_length);
  return state_.loss_scale->scale() / static_cast<double>(std::bit_floor(tokens));
}

TrainStep::Gradients TrainStep::compute_gradients(DataLoader& loader) {
  Totals own(job_.device());
  const std::int64_t count = micro_batches(next_batch());
  reducer_.begin_step(static_cast<int>(count));
  {
    const StepTimers::Span span(&timers_, StepPart::forward_backward);
    run_pipeline({static_cast<std::uint64_t>(state_.progress.iteration), /*training=*/true}, /*backward=*/true, count,
                 loader, own);
  }
  {
    const StepTimers::Span span(&timers_, StepPart::all_grads_sync);
    reducer_.finish();
  }
  const at::Tensor totals = reduced(own);
  const at::Tensor safe_count = totals.select(0, 1).clamp_min(1.0);
  Gradients out{totals.select(0, 0) / safe_count, safe_count.reciprocal(), totals.select(0, 1), {}, {}};
  if (const at::Tensor weight = token_weight(); weight.defined()) out.scale = out.scale / weight;
  if (totals.size(0) == 4) {
    out.attention_cells = totals.select(0, 2);
    out.area_imbalance = totals.select(0, 3) / static_cast<double>(count * job_.parallel().dp_size());
  }
  return out;
}

StepResult TrainStep::run(DataLoader& loader) {
  const bool prove = !exchange_is_proven_ && job_.config()->parallel.proof_of_exchange;
  if (prove) attention_.proof().reset();
  const Gradients gradients = compute_gradients(loader);
  if (prove) require_proven_exchange(job_, attention_.proof());
  exchange_is_proven_ = true;
  return apply(gradients);
}

StepResult TrainStep::apply(const Gradients& gradients) {
  const Config& config = job_.config();
  const std::span<const OptimizerState> states = state_.optimizer.states();
  const at::NoGradGuard no_grad;
  settle();
  const StepTimers::Span span(&timers_, StepPart::optimizer);

  StepResult result;
  result.rates = state_.schedule.rates();
  result.samples = last_batch_ = next_batch();
  result.tokens = gradients.tokens;
  result.loss = gradients.loss;
  result.attention_cells = gradients.attention_cells;
  result.area_imbalance = gradients.area_imbalance;
  at::Tensor scale = gradients.scale, skip;
  const bool clips = config.optimizer.clip_grad > 0.0;
  if (clips || checks_finite() || state_.loss_scale) {
    const StepTimers::Span clipping(&timers_, StepPart::optimizer_clip_main_grad);
    const ClippedScale clipped = clip_gradients(states, gradient_group_, gradients.scale, config.optimizer.clip_grad);
    if (clips) result.grad_norm = clipped.norm;
    scale = clipped.scale;
    if (checks_finite()) {
      skip = guard_.note(state_.progress.iteration + 1, state_.progress.consumed_train_samples, gradients.loss,
                         clipped.norm);
      // On a GPU reading the answer would stall the step.
      if (job_.device().is_cpu()) guard_.require_finite();
    } else if (state_.loss_scale) {
      skip =
          at::isfinite(gradients.loss).logical_and(at::isfinite(clipped.norm)).logical_not().to(at::kFloat).view({1});
    }
    result.skipped = skip;
  }
  if (config.logging.log_num_zeros_in_grad) {
    const StepTimers::Span counting(&timers_, StepPart::optimizer_count_zeros);
    result.zeros = count_zero_gradients(states, gradient_group_, job_.device());
  }
  {
    const StepTimers::Span stepping(&timers_, StepPart::optimizer_inner_step);
    state_.optimizer.step(result.rates, state_.schedule.weight_decay(), scale, skip);
  }
  if (config.parallel.use_distributed_optimizer) {
    const StepTimers::Span gathering(&timers_, StepPart::params_all_gather);
    reducer_.gather_values();
  }
  state_.schedule.advance(result.samples);
  state_.progress.iteration += 1;
  state_.progress.consumed_train_samples += result.samples;
  if (state_.loss_scale) {
    state_.loss_scale->update(skip);
    result.loss_scale = state_.loss_scale->scale();
    skipped_.emplace(std::vector<at::Tensor>{skip.to(at::kDouble)}, job_.device());
    if (job_.device().is_cpu()) settle();
  }
  return result;
}

std::int64_t TrainStep::skip(DataLoader& loader) {
  settle();
  const std::int64_t samples = next_batch();
  for (std::int64_t number = micro_batches(samples); number > 0; --number) loader.next();
  state_.optimizer.leave_out_step();
  state_.progress.iteration += 1;
  state_.progress.consumed_train_samples += samples;
  state_.progress.skipped_samples += samples;
  return samples;
}

// The samples are consumed, the step is not made: Megatron-LM's schedule stays where it was, and AdamW's count does.
void TrainStep::settle() {
  if (!skipped_) return;
  const double was_skipped = skipped_->wait().item<double>();
  skipped_.reset();
  if (was_skipped == 0.0) return;
  state_.optimizer.note_skipped();
  state_.schedule.advance(-last_batch_);
  state_.progress.skipped_samples += last_batch_;
}

bool TrainStep::checks_finite() const { return job_.config()->precision.check_for_nan_in_loss_and_grad; }

void TrainStep::require_finite() const {
  if (checks_finite()) guard_.require_finite();
}

double TrainStep::evaluate(DataLoader& loader, std::int64_t global_batches) {
  const std::int64_t samples = global_batches * job_.config()->evaluation.eval_global_batch_size;
  return evaluate_unless([] { return std::int64_t{0}; }, loader, samples).loss;
}

TrainStep::Evaluation TrainStep::evaluate_unless(const Reason& reason, DataLoader& loader, std::int64_t samples) {
  const at::NoGradGuard no_grad;
  const EvaluationConfig& sizes = job_.config()->evaluation;
  const std::int64_t one = std::int64_t{sizes.eval_micro_batch_size} * job_.parallel().dp_size();
  const std::int64_t batch = sizes.eval_global_batch_size / one;  // micro-batches, and so is what follows
  Totals own(job_.device());
  for (std::int64_t left = (samples + one - 1) / one; left > 0; left -= batch) {
    const std::int64_t count = std::min(batch, left);
    if (const std::int64_t agreed = prepare_micro_batches(reason, loader, count); agreed != 0) return {0.0, agreed};
    run_pipeline({0, /*training=*/false}, /*backward=*/false, count, loader, own);
  }
  const at::Tensor totals = reduced(own).cpu();
  return {totals[0].item<double>() / std::max(totals[1].item<double>(), 1.0), 0};
}

}  // namespace ringtron
