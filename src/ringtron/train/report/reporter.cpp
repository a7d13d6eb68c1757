#include "ringtron/train/report/reporter.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/config/config_text.h"
#include "ringtron/telemetry/flops.h"
#include "ringtron/telemetry/log_json.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/device_peak.h"

namespace ringtron {
namespace {

std::string evaluated_name(Evaluated what) {
  switch (what) {
    case Evaluated::validation:
      return "validation";
    case Evaluated::final_validation:
      return "final validation";
    case Evaluated::test:
      return "test";
  }
  return "";
}

// Names of what a step gives.
constexpr std::string_view kLoss = "loss", kTokens = "tokens", kNorm = "norm", kZeros = "zeros", kSkipped = "skipped",
                           kCells = "attention cells", kImbalance = "area imbalance", kScale = "loss scale";

}  // namespace

Reporter::Reporter(const Job& job, std::int64_t train_iterations, const Progress& start, StepTimers& timers)
    : job_(job),
      train_iterations_(train_iterations),
      step_flops_(step_flops(job.config())),
      since_(job.device()),
      timers_(timers),
      timer_report_(job) {
  const LoggingConfig& logging = job.config()->logging;
  if (logging.tensorboard_dir.empty() && logging.log_jsonl.empty()) return;
  run_collectively(job.world(), [&] {
    if (!job.is_last_rank()) return;
    if (!logging.tensorboard_dir.empty()) open_events(start);
    if (logging.log_jsonl.empty()) return;
    json_.emplace(logging.log_jsonl);
    json_->write(json_of(start_record(job, train_iterations, start)));
  });
}

void Reporter::open_events(const Progress& start) {
  try {
    events_ = std::make_unique<EventWriter>(job_.config()->logging.tensorboard_dir,
                                            EventWriter::Start{start.iteration, start.consumed_train_samples});
  } catch (const IoError& error) {
    throw IoError(fmt::format("--tensorboard-dir: {}. Give a folder that can be made and written", error.what()));
  }
  for (const auto& [name, value] : list_options(job_.config())) events_->add_text(name, value, start.iteration);
}

// The first line of a run comes early, to show what the start cost; if it is out of turn, it ends no interval.
bool Reporter::ends_interval(std::int64_t iteration) const {
  return iteration % job_.config()->logging.log_interval == 0 || iteration == train_iterations_;
}

// Evaluations and saves that are still to come are not counted.
double Reporter::seconds_left(const Progress& progress, double seconds) const {
  const std::int64_t consumed = progress.consumed_train_samples;
  const std::int64_t to_come =
      batch_schedule(job_.config()).samples_after(consumed, train_iterations_ - progress.iteration) - consumed;
  return static_cast<double>(to_come) / mean_batch() * seconds;
}

// 0-dim tensors of one type become one tensor, so that one copy brings a step's numbers to the host.
at::Tensor Reporter::numbers_of(const StepResult& result) {
  std::vector<at::Tensor> numbers;
  number_names_.clear();
  const auto add = [&](std::string_view name, const at::Tensor& value) {
    if (!value.defined()) return;
    number_names_.push_back(name);
    numbers.push_back(value.detach().reshape({}).to(at::kDouble));
  };
  add(kLoss, result.loss);
  add(kTokens, result.tokens);
  add(kNorm, result.grad_norm);
  add(kZeros, result.zeros);
  add(kSkipped, result.skipped);
  add(kCells, result.attention_cells);
  add(kImbalance, result.area_imbalance);
  add(kScale, result.loss_scale);
  return at::stack(numbers);
}

double Reporter::number(const Step& step, std::string_view name, double otherwise) const {
  const auto found = std::ranges::find(number_names_, name);
  return found == number_names_.end() ? otherwise
                                      : step.numbers[static_cast<std::size_t>(found - number_names_.begin())];
}

double Reporter::sum(std::string_view name) const {
  double sum = 0.0;
  for (const Step& step : steps_) sum += number(step, name);
  return sum;
}

bool Reporter::has(std::string_view name) const { return std::ranges::count(number_names_, name) > 0; }

// To a dynamic loss scale a gradient that is not finite is no fault.
bool Reporter::is_bad(const Step& step) const {
  const bool norm_counts = !job_.config()->precision.has_dynamic_loss_scale();
  return !std::isfinite(number(step, kLoss)) || (norm_counts && !std::isfinite(number(step, kNorm)));
}

// By the loss scale, for an overflow.
bool Reporter::was_let_go(const Step& step) const { return has(kScale) && number(step, kSkipped) != 0.0; }

bool Reporter::step_done(const StepResult& result, const Progress& progress, const LearningRates& rates,
                         std::optional<double> params_norm) {
  catch_up();
  ++steps_done_;
  {
    const at::NoGradGuard no_grad;
    on_device_.push_back(numbers_of(result));
  }
  steps_.push_back({progress, result.samples, rates, result.rates, params_norm, {}, {}});
  if (events_ != nullptr && job_.config()->logging.log_memory_to_tensorboard && job_.device().is_cuda()) {
    steps_.back().memory = device_memory(job_.device());
  }
  const bool ends = ends_interval(progress.iteration) || line_is_due_;
  if (steps_done_ == 1 || ends) begin_line(progress, ends);
  return !std::exchange(is_bad_, false);
}

void Reporter::begin_line(const Progress& progress, bool ends) {
  line_.emplace(PendingNumbers(on_device_, job_.device()), timers_.cut(), progress, paused_, ends);
  on_device_.clear();
  if (ends) paused_ = 0.0;
  if (job_.device().is_cpu() || steps_done_ <= 2) catch_up();
}

void Reporter::step_skipped(std::int64_t samples, const Progress& progress) {
  catch_up();
  ++left_out_;
  if (job_.is_last_rank()) {
    print_line("iteration {} is skipped (--iterations-to-skip): its {} samples are consumed, and nothing is learnt",
               progress.iteration, samples);
  }
  if (!ends_interval(progress.iteration)) return;
  line_is_due_ = steps_.empty();
  if (!steps_.empty()) begin_line(progress, /*ends_interval=*/true);
}

void Reporter::read(const PendingNumbers& numbers) {
  const at::Tensor rows = numbers.wait();
  const double* next = rows.const_data_ptr<double>();
  for (; read_ < steps_.size(); ++read_, next += rows.size(1)) {
    steps_[read_].numbers.assign(next, next + rows.size(1));
    is_bad_ = is_bad_ || is_bad(steps_[read_]);
  }
}

void Reporter::catch_up() {
  if (!line_) return;
  Line line = std::move(*line_);
  line_.reset();  // whatever throws below, the line is printed once
  read(line.numbers);
  const double seconds =
      (line.numbers.arrival().seconds_since(since_) - line.paused) / static_cast<double>(steps_.size());
  const auto parts = timer_report_.add(std::move(line.times), static_cast<double>(steps_.size()));
  const TrainingLogLine text = line_of(line.progress, seconds);
  if (job_.is_last_rank()) tell(text, parts);
  warn_of_masked_tokens();
  warn_of_least_scale();
  require_possible_throughput(tflops_per_device(mean_step_flops(), seconds, job_.environment().world_size));
  const std::int64_t memory_interval = job_.config()->logging.log_memory_interval;
  if (steps_done_ <= 2 || (memory_interval > 0 && text.iteration % memory_interval == 0)) {
    report_memory(text.iteration);
  }
  if (line.ends_interval) write_times(text, parts);
  write_points();
  if (!line.ends_interval) return;
  timer_report_.begin_interval();
  steps_.clear();
  left_out_ = 0;
  line_is_due_ = false;
  read_ = written_ = 0;
  since_ = std::move(line.numbers.arrival());
}

Reporter::~Reporter() {
  try {
    if (!line_ || !line_->numbers.arrival().has_come() || !job_.is_last_rank()) return;
    read(line_->numbers);
    const double seconds = line_->numbers.arrival().seconds_since(since_) - line_->paused;
    tell(line_of(line_->progress, seconds / static_cast<double>(steps_.size())), {});
  } catch (const std::exception&) {  // the device may be what the run ends of
  }
}

// On the last rank.
void Reporter::tell(const TrainingLogLine& line, const std::vector<PartTimes>& parts) {
  print_line(text_of(line));
  if (const std::string times = timer_report_.text(parts); !times.empty()) print_line(times);
  if (json_) json_->write(json_of(line, parts));
}

TrainingLogLine Reporter::line_of(const Progress& progress, double seconds) const {
  const Step& last = steps_.back();
  TrainingLogLine line;
  line.timestamp = local_timestamp();
  line.iteration = progress.iteration;
  line.train_iterations = train_iterations_;
  line.consumed_samples = progress.consumed_train_samples;
  line.milliseconds_per_iteration = seconds * 1000.0;
  if (job_.config()->logging.log_throughput)
    line.tflops_per_gpu = tflops_per_device(mean_step_flops(), seconds, job_.environment().world_size);
  const LearningRates& rates = was_let_go(last) ? last.own_rates : last.rates;
  line.learning_rate = rates.lr;
  line.decoupled_learning_rate = rates.decoupled;
  line.global_batch_size = last.samples;
  double losses = 0.0, counted = 0.0;
  for (const Step& step : steps_) {
    if (was_let_go(step)) continue;
    losses += number(step, kLoss);
    ++counted;
  }
  if (counted > 0) line.losses = {{"lm loss", losses / counted}};
  if (has(kScale)) line.loss_scale = number(last, kScale);
  if (has(kNorm) && !was_let_go(last)) line.grad_norm = number(last, kNorm);
  if (has(kZeros)) line.zeros_in_grad = static_cast<std::int64_t>(number(last, kZeros));
  line.params_norm = last.params_norm;
  line.skipped_iterations = static_cast<std::int64_t>(sum(kSkipped)) + left_out_;
  line.nan_iterations = std::ranges::count_if(steps_, [&](const Step& step) { return is_bad(step); });
  if (job_.config()->logging.log_eta) {
    const double tokens = mean_batch() * static_cast<double>(job_.config()->model.seq_length);
    line.tokens_per_second = seconds > 0 ? tokens / seconds : 0.0;
    line.seconds_left = seconds_left(progress, seconds);
  }
  if (has(kImbalance)) line.area_imbalance = sum(kImbalance) / static_cast<double>(steps_.size());
  if (json_ && job_.device().is_cuda()) {
    const DeviceMemory memory = device_memory(job_.device());
    line.memory_allocated = memory.allocated;
    line.memory_max_allocated = memory.max_allocated;
  }
  return line;
}

std::string Reporter::text_of(const TrainingLogLine& line) const {
  std::string text = format_log_line(line);
  if (line.area_imbalance) text += fmt::format(" attention area max/mean: {:.2f} |", *line.area_imbalance);
  return text + format_pace(line) + remark_;
}

Reporter::Pause::Pause(Reporter& reporter) : reporter_(reporter) {
  reporter.catch_up();
  synchronize(reporter.job_.device());
  began_ = SteadyClock::now();
}

// The mean of the steps since the last log line.
double Reporter::mean_step_flops() const {
  // Of a batch of full size, of which the steps had a part.
  const double part = mean_batch() / static_cast<double>(job_.config()->batch.global_batch_size);
  const double cells = sum(kCells) / static_cast<double>(steps_.size());
  return part * (cells == 0.0 ? step_flops_ : step_flops(job_.config(), cells / part));
}

double Reporter::mean_batch() const {
  std::int64_t samples = 0;
  for (const Step& step : steps_) samples += step.samples;
  return static_cast<double>(samples) / static_cast<double>(steps_.size());
}

void Reporter::require_possible_throughput(double tflops) const {
  if (!job_.device().is_cuda() || !job_.config()->parallel.proof_of_exchange) return;
  run_collectively(job_.world(), [&] { require_below_peak(tflops, device_name(job_.device())); });
}

// A loss of 0 looks like success.
void Reporter::warn_of_masked_tokens() {
  if (told_of_masks_ || sum(kTokens) > 0.0) return;
  told_of_masks_ = true;
  if (!job_.is_last_rank()) return;
  warn_line("no token of {} counts in the loss, so that the loss is 0 and nothing is learnt: {}",
            steps_.size() == 1 ? "this iteration" : fmt::format("the last {} iterations", steps_.size()),
            job_.config()->data.eod_mask_loss
                ? "--eod-mask-loss leaves out the end-of-document tokens, and the data has no others"
                : "the loss mask of the data is 0 everywhere");
}

// Skipped steps are how a scale is found, but not when it cannot become smaller.
void Reporter::warn_of_least_scale() const {
  const PrecisionConfig& precision = job_.config()->precision;
  const double scale = number(steps_.back(), kScale);
  if (!job_.is_last_rank() || !std::ranges::all_of(steps_, [&](const Step& step) { return was_let_go(step); }) ||
      (precision.has_dynamic_loss_scale() && scale > precision.min_loss_scale))
    return;
  warn_line(
      "every iteration since the last line was skipped, and the loss scale stays {}: the weights do not change. {}",
      scale,
      precision.has_dynamic_loss_scale() ? "Go on from an older checkpoint with a lower --lr, or with --bf16"
                                         : "Lower --loss-scale, or leave it out");
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
  if (!on_device_.empty()) {
    read(PendingNumbers(on_device_, job_.device()));
    on_device_.clear();
  }
  for (; written_ < read_; ++written_) write_point(steps_[written_]);
  events_->flush();
}

void Reporter::write_point(const Step& step) {
  const Progress& progress = step.progress;
  if (progress.iteration % job_.config()->logging.tensorboard_log_interval != 0) return;
  const auto both = [&](const std::string& tag, double value) {
    events_->add_scalar(tag, value, progress.iteration);
    events_->add_scalar(tag + " vs samples", value, progress.consumed_train_samples);
  };
  const LearningRates& rates = was_let_go(step) ? step.own_rates : step.rates;
  both("learning-rate", rates.lr);
  if (rates.decoupled) both("decoupled-learning-rate", *rates.decoupled);
  both("batch-size", static_cast<double>(step.samples));
  const LoggingConfig& logging = job_.config()->logging;
  if (logging.log_loss_scale_to_tensorboard) both("loss-scale", number(step, kScale, 1.0));
  if (logging.log_world_size_to_tensorboard) both("world-size", job_.environment().world_size);
  for (const auto& [name, tag] : {std::pair(kLoss, "lm loss"), {kNorm, "grad-norm"}, {kZeros, "num-zeros"}}) {
    if (has(name) && !(name == kNorm && was_let_go(step))) both(tag, number(step, name));
  }
  if (step.params_norm) both("params-norm", *step.params_norm);
  if (!step.memory) return;
  const auto count = [&](const char* tag, std::int64_t value) {
    events_->add_scalar(tag, static_cast<double>(value), progress.iteration);
  };
  count("mem-reserved-bytes", step.memory->reserved);
  count("mem-allocated-bytes", step.memory->allocated);
  count("mem-max-allocated-bytes", step.memory->max_allocated);
  count("mem-allocated-count", step.memory->allocations);
}

// Seconds, as in Megatron.
void Reporter::write_times(const TrainingLogLine& line, const std::vector<PartTimes>& parts) {
  if (events_ == nullptr || !job_.config()->logging.log_timers_to_tensorboard) return;
  events_->add_scalar("iteration-time", line.milliseconds_per_iteration * 1e-3, line.iteration);
  if (line.tflops_per_gpu) events_->add_scalar("throughput", *line.tflops_per_gpu, line.iteration);
  for (const PartTimes& part : parts) {
    if (longest(part) > 0) events_->add_scalar(part.name + "-time", longest(part) * 1e-3, line.iteration);
  }
}

void Reporter::transferred(const TransferRecord& record) {
  if (json_) json_->write(json_of(record));
}

void Reporter::evaluated(const EvaluatedSet& set, const std::string& where, double loss, const Progress& progress) {
  if (!job_.is_last_rank()) return;
  print_line(format_evaluation(where, {{"lm loss", loss}}, set.name));
  if (json_) {
    json_->write(json_of(EvaluationRecord{local_timestamp(), evaluated_name(set.what), set.name, progress.iteration,
                                          progress.consumed_train_samples, loss}));
  }
  if (events_ == nullptr) return;
  write_points();
  const std::string tag = "lm loss " + evaluated_name(set.what) + (set.name.empty() ? "" : "-" + set.name);
  events_->add_scalar(tag, loss, progress.iteration);
  events_->add_scalar(tag + " vs samples", loss, progress.consumed_train_samples);
  if (job_.config()->logging.log_validation_ppl_to_tensorboard) {
    events_->add_scalar(tag + " ppl", perplexity(loss), progress.iteration);
    events_->add_scalar(tag + " ppl vs samples", perplexity(loss), progress.consumed_train_samples);
  }
  events_->flush();
}

}  // namespace ringtron
