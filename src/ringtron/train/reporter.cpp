#include "ringtron/train/reporter.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/base/clock.h"
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

DenseGptSizes sizes_of(const ModelConfig& m) {
  DenseGptSizes sizes;
  sizes.layers = m.num_layers;
  sizes.hidden = m.hidden_size;
  sizes.ffn_hidden = m.ffn_hidden_size;
  sizes.query_projection = static_cast<std::int64_t>(m.num_attention_heads) * m.kv_channels;
  sizes.key_value_projection = static_cast<std::int64_t>(m.num_query_groups) * m.kv_channels;
  sizes.padded_vocab = m.padded_vocab_size;
  sizes.swiglu = m.swiglu;
  return sizes;
}

// Of one global batch whose samples' masks count as `squared_lengths`, see BatchShape.
double batch_flops(const Config& config, double squared_lengths) {
  const DenseGptSizes sizes = sizes_of(config.model);
  const double s = config.model.seq_length, b = config.batch.global_batch_size;
  const double per_square = 6.0 * static_cast<double>(sizes.layers) * static_cast<double>(sizes.query_projection);
  return gpt_step_flops(sizes, config.batch.global_batch_size, config.model.seq_length) +
         per_square * (squared_lengths - b * s * s);
}

// Of a batch without document masks.
double fixed_flops(const Config& config) {
  const double micro_batches = static_cast<double>(config.batch.global_batch_size) / config.batch.micro_batch_size;
  return batch_flops(config, make_batch_shape(config, {})->squared_lengths * micro_batches);
}

void add_to(at::Tensor& sum, const at::Tensor& value) {
  if (value.defined()) sum = sum.defined() ? sum + value : value.clone();
}

}  // namespace

Reporter::Reporter(const Job& job, std::int64_t train_iterations)
    : job_(job),
      train_iterations_(train_iterations),
      step_flops_(fixed_flops(job.config())),
      since_(SteadyClock::now()) {
  const LoggingConfig& logging = job.config().logging;
  if (job.is_last_rank() && !logging.tensorboard_dir.empty()) {
    events_ = std::make_unique<EventWriter>(logging.tensorboard_dir);
    for (const auto& [name, value] : list_options(job.config())) events_->add_text(name, value, 0);
  }
}

// The first line of a run comes early, to show what the start cost; if it is out of turn, it ends no interval.
bool Reporter::ends_interval(std::int64_t iteration) const {
  return iteration % job_.config().logging.log_interval == 0 || iteration == train_iterations_;
}

bool Reporter::step_done(const StepResult& result, const Progress& progress, double lr, std::optional<double> params_norm) {
  ++steps_done_;
  add_to(loss_sum_, result.loss);
  add_to(squared_lengths_sum_, result.squared_lengths);
  add_to(area_imbalance_sum_, result.area_imbalance);
  ++losses_;
  if (events_ != nullptr && progress.iteration % job_.config().logging.tensorboard_log_interval == 0) {
    points_.push_back({result, progress, lr});
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
  const double tflops = tflops_per_device(step_flops(), seconds, job_.environment().world_size);
  if (job_.config().logging.log_throughput) line.tflops_per_gpu = tflops;
  line.learning_rate = lr;
  line.global_batch_size = job_.config().batch.global_batch_size;
  line.losses = {{"lm loss", loss_sum_.item<double>() / static_cast<double>(losses_)}};
  if (result.grad_norm.defined()) line.grad_norm = result.grad_norm.item<double>();
  if (result.zeros.defined()) line.zeros_in_grad = result.zeros.item<std::int64_t>();
  line.params_norm = params_norm;
  std::string text = format_log_line(line);
  if (area_imbalance_sum_.defined()) {
    text += fmt::format(" attention area max/mean: {:.2f} |",
                        area_imbalance_sum_.item<double>() / static_cast<double>(losses_));
  }
  if (job_.is_last_rank()) print_line(text + remark_);
  demand_possible(tflops);
  if (steps_done_ <= 2) report_memory(progress.iteration);
  if (ends_interval(progress.iteration)) {
    loss_sum_ = squared_lengths_sum_ = area_imbalance_sum_ = at::Tensor();
    losses_ = 0;
    since_ = SteadyClock::now();
  }
  write_points();
  return true;
}

// The mean of the steps since the last log line.
double Reporter::step_flops() const {
  if (!squared_lengths_sum_.defined()) return step_flops_;
  return batch_flops(job_.config(), squared_lengths_sum_.item<double>() / static_cast<double>(losses_));
}

void Reporter::demand_possible(double tflops) const {
  if (!job_.device().is_cuda() || !job_.config().parallel.proof_of_exchange) return;
  together(job_.world(), [&] { demand_below_peak(tflops, device_name(job_.device())); });
}

void Reporter::report_memory(std::int64_t iteration) const {
  const ParallelState& parallel = job_.parallel();
  if (!job_.device().is_cuda() || parallel.dp_rank() != 0 || parallel.cp_rank() != 0) return;
  constexpr double kMegabyte = 1024.0 * 1024.0;
  const DeviceMemory m = device_memory(job_.device());
  print_line("[Rank {}] (after {} iterations) memory (MB) | allocated: {:.2f} | max allocated: {:.2f} | reserved: {:.2f} | "
             "max reserved: {:.2f}",
             job_.rank(), iteration, static_cast<double>(m.allocated) / kMegabyte,
             static_cast<double>(m.max_allocated) / kMegabyte, static_cast<double>(m.reserved) / kMegabyte,
             static_cast<double>(m.max_reserved) / kMegabyte);
}

void Reporter::write_points() {
  if (events_ == nullptr) return;
  for (const auto& [result, progress, lr] : points_) {
    const auto both = [&](const std::string& tag, double value) {
      events_->add_scalar(tag, value, progress.iteration);
      events_->add_scalar(tag + " vs samples", value, progress.consumed_train_samples);
    };
    both("learning-rate", lr);
    both("batch-size", static_cast<double>(job_.config().batch.global_batch_size));
    both("lm loss", result.loss.item<double>());
    both("loss-scale", 1.0);
    if (result.grad_norm.defined()) both("grad-norm", result.grad_norm.item<double>());
    if (result.zeros.defined()) both("num-zeros", static_cast<double>(result.zeros.item<std::int64_t>()));
  }
  points_.clear();
  events_->flush();
}

void Reporter::evaluated(const std::string& where, double loss, const Progress& progress) {
  if (!job_.is_last_rank()) return;
  print_line(format_evaluation(where, {{"lm loss", loss}}));
  if (events_ == nullptr) return;
  write_points();
  events_->add_scalar("lm loss validation", loss, progress.iteration);
  events_->add_scalar("lm loss validation vs samples", loss, progress.consumed_train_samples);
  if (job_.config().logging.log_validation_ppl_to_tensorboard) {
    events_->add_scalar("lm loss validation ppl", perplexity(loss), progress.iteration);
  }
  events_->flush();
}

}  // namespace ringtron
