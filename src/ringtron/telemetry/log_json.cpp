#include "ringtron/telemetry/log_json.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

namespace ringtron {
namespace {

std::string number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

class Object {
 public:
  void text(std::string_view name, std::string_view value) { raw(name, quoted(value)); }
  void integer(std::string_view name, std::int64_t value) { raw(name, std::to_string(value)); }
  void real(std::string_view name, double value) { raw(name, number(value)); }
  void real(std::string_view name, const std::optional<double>& value) {
    if (value) real(name, *value);
  }
  void raw(std::string_view name, std::string_view value) {
    if (!members_.empty()) members_ += ',';
    members_ += fmt::format("{}:{}", quoted(name), value);
  }
  std::string done() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

std::string times(std::span<const PartTimes> parts) {
  Object all;
  for (const PartTimes& part : parts) {
    if (longest(part) <= 0) continue;
    std::string ranks;
    for (const double time : part.milliseconds) ranks += (ranks.empty() ? "" : ",") + number(time);
    all.raw(part.name, "[" + ranks + "]");
  }
  return all.done();
}

}  // namespace

std::string json_of(const TrainingLogLine& line, std::span<const PartTimes> parts) {
  Object out;
  out.text("kind", "train");
  out.text("time", line.timestamp);
  out.integer("iteration", line.iteration);
  out.integer("train_iterations", line.train_iterations);
  out.integer("consumed_samples", line.consumed_samples);
  out.real("milliseconds_per_iteration", line.milliseconds_per_iteration);
  out.real("tflops_per_gpu", line.tflops_per_gpu);
  out.real("learning_rate", line.learning_rate);
  out.real("decoupled_learning_rate", line.decoupled_learning_rate);
  out.integer("global_batch_size", line.global_batch_size);
  for (const auto& [name, loss] : line.losses) out.real(name, loss);
  out.real("loss_scale", line.loss_scale);
  out.real("grad_norm", line.grad_norm);
  if (line.zeros_in_grad) out.integer("num_zeros", *line.zeros_in_grad);
  out.real("params_norm", line.params_norm);
  out.integer("skipped_iterations", line.skipped_iterations);
  out.integer("nan_iterations", line.nan_iterations);
  out.real("tokens_per_second", line.tokens_per_second);
  out.real("seconds_left", line.seconds_left);
  out.real("attention_area_max_over_mean", line.area_imbalance);
  if (line.memory_allocated) out.integer("memory_allocated_bytes", *line.memory_allocated);
  if (line.memory_max_allocated) out.integer("memory_max_allocated_bytes", *line.memory_max_allocated);
  if (!parts.empty()) out.raw("milliseconds_of_ranks", times(parts));
  return out.done();
}

std::string json_of(const StartRecord& record) {
  Object out, options;
  out.text("kind", "start");
  out.text("time", record.timestamp);
  out.integer("iteration", record.iteration);
  out.integer("consumed_samples", record.consumed_samples);
  out.integer("train_iterations", record.train_iterations);
  out.integer("world_size", record.world_size);
  if (!record.device.empty()) out.text("device", record.device);
  out.real("peak_tflops", record.peak_tflops);
  for (const auto& [name, value] : record.options) options.text(name, value);
  out.raw("options", options.done());
  return out.done();
}

std::string json_of(const TransferRecord& record) {
  Object out;
  out.text("kind", record.kind == TransferRecord::Kind::save ? "save" : "load");
  out.text("time", record.timestamp);
  out.integer("iteration", record.iteration);
  out.real("seconds", record.seconds);
  out.real("bytes", record.bytes);
  out.real("seconds_waited", record.seconds_waited);
  return out.done();
}

std::string json_of(const EvaluationRecord& record) {
  Object out;
  out.text("kind", "evaluation");
  out.text("time", record.timestamp);
  out.text("on", record.on);
  if (!record.set.empty()) out.text("set", record.set);
  out.integer("iteration", record.iteration);
  out.integer("consumed_samples", record.consumed_samples);
  out.real("lm loss", record.loss);
  out.real("lm loss PPL", perplexity(record.loss));
  return out.done();
}

}  // namespace ringtron
