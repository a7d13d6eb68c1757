#include "ringtron/train/reporter.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/config_text.h"
#include "ringtron/telemetry/flops.h"
#include "ringtron/telemetry/log_line.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/cuda_runtime.h"
#include "ringtron/train/device_peak.h"

namespace ringtron {
namespace {

// 1 if the step's loss or gradient norm is not a finite number, else 0; on the device.
at::Tensor is_bad(const StepResult& result) {
  at::Tensor good = at::isfinite(result.loss).reshape({});
  if (result.grad_norm.defined()) good = good.logical_and(at::isfinite(result.grad_norm).reshape({}));
  return good.logical_not().to(at::kLong);
}

std::int64_t count_of(const at::Tensor& sum) {
  return sum.defined() ? static_cast<std::int64_t>(sum.item<double>()) : 0;
}

const char* tag_of(Evaluated what) {
  switch (what) {
    case Evaluated::validation:
      return "lm loss validation";
    case Evaluated::final_validation:
      return "lm loss final validation";
    case Evaluated::test:
      return "lm loss test";
  }
  return "";
}

void add_to(at::Tensor& sum, const at::Tensor& value) {
  if (value.defined()) sum = sum.defined() ? sum + value : value.clone();
}

}  // namespace

Reporter::Reporter(const Job& job, std::int64_t train_iterations, const Progress& start)
    : job_(job),
      train_iterations_(train_iterations),
      step_flops_(step_flops(job.config())),
      since_(SteadyClock::now()) {
  const LoggingConfig& logging = job.config()->logging;
  if (logging.tensorboard_dir.empty()) return;
  run_collectively(job.world(), [&] {
    if (!job.is_last_rank()) return;
    try {
      events_ = std::make_unique<EventWriter>(logging.tensorboard_dir,
                                              EventWriter::Start{start.iteration, start.consumed_train_samples});
    } catch (const IoError& error) {
      throw IoError(fmt::format("--tensorboard-dir: {}. Give a folder that can be made and written", error.what()));
    }
    for (const auto& [name, value] : list_options(job.config())) events_->add_text(name, value, start.iteration);
  });
}

// The first line of a run comes early, to show what the start cost; if it is out of turn, it ends no interval.
bool Reporter::ends_interval(std::int64_t iteration) const {
  return iteration % job_.config()->logging.log_interval == 0 || iteration == train_iterations_;
}

// Evaluations and saves that are still to come are not counted.
std::string Reporter::pace(std::int64_t iteration, double seconds) const {
  const double tokens = static_cast<double>(job_.config()->batch.global_batch_size) *
                        static_cast<double>(job_.config()->model.seq_length);
  const auto left =
      static_cast<std::int64_t>(std::llround(static_cast<double>(train_iterations_ - iteration) * seconds));
  return fmt::format(" tokens/s: {:.0f} | time left: {}:{:02}:{:02} |", seconds > 0 ? tokens / seconds : 0.0,
                     left / 3600, left / 60 % 60, left % 60);
}

bool Reporter::step_done(const StepResult& result, const Progress& progress, double lr,
                         std::optional<double> params_norm) {
  ++steps_done_;
  add_to(tokens_sum_, result.tokens);
  add_to(loss_sum_, result.loss);
  add_to(attention_cells_sum_, result.attention_cells);
  add_to(area_imbalance_sum_, result.area_imbalance);
  add_to(skipped_sum_, result.skipped);
  {
    const at::NoGradGuard no_grad;
    add_to(nan_sum_, is_bad(result));
  }
  ++losses_;
  if (events_ != nullptr && progress.iteration % job_.config()->logging.tensorboard_log_interval == 0) {
    points_.push_back({result, progress, lr, params_norm});
  }
  if (steps_done_ != 1 && !ends_interval(progress.iteration)) return false;
  synchronize(job_.device());
  const double seconds = seconds_since(since_) / static_cast<double>(losses_);
  TrainingLogLine line;
  line.timestamp = local_timestamp();
  line.iteration = progress.iteration;
  line.train_iterations = train_iterations_;
  line.consumed_samples = progress.consumed_train_samples;
  line.milliseconds_per_iteration = seconds * 1000.0;
  const double tflops = tflops_per_device(mean_step_flops(), seconds, job_.environment().world_size);
  if (job_.config()->logging.log_throughput) line.tflops_per_gpu = tflops;
  line.learning_rate = lr;
  line.global_batch_size = job_.config()->batch.global_batch_size;
  line.losses = {{"lm loss", loss_sum_.item<double>() / static_cast<double>(losses_)}};
  if (result.grad_norm.defined()) line.grad_norm = result.grad_norm.item<double>();
  if (result.zeros.defined()) line.zeros_in_grad = result.zeros.item<std::int64_t>();
  line.params_norm = params_norm;
  line.skipped_iterations = count_of(skipped_sum_);
  line.nan_iterations = count_of(nan_sum_);
  std::string text = format_log_line(line);
  if (area_imbalance_sum_.defined()) {
    text += fmt::format(" attention area max/mean: {:.2f} |",
                        area_imbalance_sum_.item<double>() / static_cast<double>(losses_));
  }
  if (job_.config()->logging.log_eta) text += pace(progress.iteration, seconds);
  if (job_.is_last_rank()) print_line(text + remark_);
  warn_of_masked_tokens();
  require_possible_throughput(tflops);
  if (steps_done_ <= 2) report_memory(progress.iteration);
  if (ends_interval(progress.iteration)) {
    tokens_sum_ = loss_sum_ = attention_cells_sum_ = area_imbalance_sum_ = skipped_sum_ = nan_sum_ = at::Tensor();
    losses_ = 0;
    since_ = SteadyClock::now();
  }
  write_points();
  return true;
}

Reporter::Pause::Pause(Reporter& reporter) : reporter_(reporter) {
  synchronize(reporter.job_.device());
  began_ = SteadyClock::now();
}

// The mean of the steps since the last log line.
double Reporter::mean_step_flops() const {
  if (!attention_cells_sum_.defined()) return step_flops_;
  return step_flops(job_.config(), attention_cells_sum_.item<double>() / static_cast<double>(losses_));
}

void Reporter::require_possible_throughput(double tflops) const {
  if (!job_.device().is_cuda() || !job_.config()->parallel.proof_of_exchange) return;
  run_collectively(job_.world(), [&] { require_below_peak(tflops, device_name(job_.device())); });
}

// A loss of 0 looks like success.
void Reporter::warn_of_masked_tokens() {
  if (told_of_masks_ || tokens_sum_.item<double>() > 0.0) return;
  told_of_masks_ = true;
  if (!job_.is_last_rank()) return;
  warn_line("no token of {} counts in the loss, so that the loss is 0 and nothing is learnt: {}",
            losses_ == 1 ? "this iteration" : fmt::format("the last {} iterations", losses_),
            job_.config()->data.eod_mask_loss
                ? "--eod-mask-loss leaves out the end-of-document tokens, and the data has no others"
                : "the loss mask of the data is 0 everywhere");
}

void Reporter::report_memory(std::int64_t iteration) const {
  const ParallelState& parallel = job_.parallel();
  if (!job_.device().is_cuda() || parallel.dp_rank() != 0 || parallel.cp_rank() != 0) return;
  constexpr double kMegabyte = 1024.0 * 1024.0;
  const DeviceMemory m = device_memory(job_.device());
  print_line(
      "[Rank {}] (after {} iterations) memory (MB) | allocated: {:.2f} | max allocated: {:.2f} | reserved: {:.2f} | "
      "max reserved: {:.2f}",
      job_.rank(), iteration, static_cast<double>(m.allocated) / kMegabyte,
      static_cast<double>(m.max_allocated) / kMegabyte, static_cast<double>(m.reserved) / kMegabyte,
      static_cast<double>(m.max_reserved) / kMegabyte);
}

void Reporter::write_points() {
  if (events_ == nullptr) return;
  for (const auto& [result, progress, lr, params_norm] : points_) {
    const auto both = [&](const std::string& tag, double value) {
      events_->add_scalar(tag, value, progress.iteration);
      events_->add_scalar(tag + " vs samples", value, progress.consumed_train_samples);
    };
    both("learning-rate", lr);
    both("batch-size", static_cast<double>(job_.config()->batch.global_batch_size));
    both("lm loss", result.loss.item<double>());
    both("loss-scale", 1.0);
    if (result.grad_norm.defined()) both("grad-norm", result.grad_norm.item<double>());
    if (result.zeros.defined()) both("num-zeros", static_cast<double>(result.zeros.item<std::int64_t>()));
    if (params_norm) both("params-norm", *params_norm);
  }
  points_.clear();
  events_->flush();
}

void Reporter::evaluated(Evaluated what, const std::string& where, double loss, const Progress& progress) {
  if (!job_.is_last_rank()) return;
  print_line(format_evaluation(where, {{"lm loss", loss}}));
  if (events_ == nullptr) return;
  write_points();
  const std::string tag = tag_of(what);
  events_->add_scalar(tag, loss, progress.iteration);
  events_->add_scalar(tag + " vs samples", loss, progress.consumed_train_samples);
  if (job_.config()->logging.log_validation_ppl_to_tensorboard) {
    events_->add_scalar(tag + " ppl", perplexity(loss), progress.iteration);
    events_->add_scalar(tag + " ppl vs samples", perplexity(loss), progress.consumed_train_samples);
  }
  events_->flush();
}

}  // namespace ringtron
