#include "ringtron/telemetry/log_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace ringtron {
namespace {

// The sign of a NaN says nothing.
double without_nan_sign(double value) { return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value; }

// Megatron's one decimal; what that would round to nothing (a CPU's) keeps three digits.
std::string throughput_text(double tflops) {
  return tflops >= 0.1 ? fmt::format("{:.1f}", tflops) : fmt::format("{:.3g}", tflops);
}

}  // namespace

std::string format_log_line(const TrainingLogLine& line) {
  std::string text;
  auto out = std::back_inserter(text);
  fmt::format_to(out, " [{}]", line.timestamp);
  fmt::format_to(out, " iteration {:8d}/{:8d} |", line.iteration, line.train_iterations);
  fmt::format_to(out, " consumed samples: {:12d} |", line.consumed_samples);
  if (line.skipped_samples > 0) fmt::format_to(out, " skipped samples: {:12d} |", line.skipped_samples);
  fmt::format_to(out, " elapsed time per iteration (ms): {:.1f} |", line.milliseconds_per_iteration);
  if (line.tflops_per_gpu)
    fmt::format_to(out, " throughput per GPU (TFLOP/s/GPU): {} |", throughput_text(*line.tflops_per_gpu));
  fmt::format_to(out, " learning rate: {:.6E} |", line.learning_rate);
  if (line.decoupled_learning_rate)
    fmt::format_to(out, " decoupled learning rate: {:.6E} |", *line.decoupled_learning_rate);
  fmt::format_to(out, " global batch size: {:5d} |", line.global_batch_size);
  for (const auto& [key, mean] : line.losses) {
    fmt::format_to(out, " {}: {:.6E} |", key, without_nan_sign(mean));
  }
  fmt::format_to(out, " loss scale: {:.1f} |", line.loss_scale);
  if (line.grad_norm) fmt::format_to(out, " grad norm: {:.3f} |", without_nan_sign(*line.grad_norm));
  if (line.zeros_in_grad) fmt::format_to(out, " num zeros: {} |", *line.zeros_in_grad);
  if (line.params_norm) fmt::format_to(out, " params norm: {:.3f} |", without_nan_sign(*line.params_norm));
  fmt::format_to(out, " number of skipped iterations: {:3d} |", line.skipped_iterations);
  fmt::format_to(out, " number of nan iterations: {:3d} |", line.nan_iterations);
  return text;
}

std::string format_pace(const TrainingLogLine& line) {
  if (!line.tokens_per_second || !line.seconds_left) return {};
  const auto left = static_cast<std::int64_t>(std::llround(*line.seconds_left));
  return fmt::format(" tokens/s: {:.0f} | time left: {}:{:02}:{:02} |", *line.tokens_per_second, left / 3600,
                     left / 60 % 60, left % 60);
}

std::string format_transfer(const TransferRecord& record) {
  const double gigabytes = record.bytes * 1e-9;
  std::string text =
      fmt::format("  {} {:.3g} GB in {:.3g} s", record.kind == TransferRecord::Kind::save ? "saved" : "loaded",
                  gigabytes, record.seconds);
  if (record.seconds > 0) text += fmt::format(" ({:.3g} GB/s)", gigabytes / record.seconds);
  if (record.seconds_waited) text += fmt::format(", for which training waited {:.3g} s", *record.seconds_waited);
  return text;
}

double perplexity(double loss) {
  constexpr double kCap = 20;  // keeps the number printable at the start of training
  return std::isnan(loss) ? loss : std::exp(std::min(kCap, loss));
}

std::string format_evaluation(std::string_view where, const std::vector<std::pair<std::string, double>>& losses,
                              std::string_view set) {
  std::string text = fmt::format(" validation{}{} loss at {} | ", set.empty() ? "" : "-", set, where);
  for (const auto& [key, loss] : losses) {
    text += fmt::format("{} value: {:.6E} | {} PPL: {:.6E} | ", key, without_nan_sign(loss), key,
                        without_nan_sign(perplexity(loss)));
  }
  const std::string dashes(text.size() + 1, '-');
  return dashes + "\n" + text + "\n" + dashes;
}

}  // namespace ringtron
