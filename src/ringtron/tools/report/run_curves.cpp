#include "ringtron/tools/report/run_curves.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

namespace ringtron {
namespace {

constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;

struct ChartKind {
  const char* series;
  const char* title;
  const char* unit;
  const char* help;
  const char* kind = "";
  bool is_log = false;
  bool shows_constant = true;  // also where the number never changes
  double factor = 1;           // from the log's unit to the chart's
};

constexpr ChartKind kCharts[] = {
    {"lm loss", "Loss", "nats a token", "Training loss of each log line, its moving mean, and the evaluations.",
     "loss"},
    {"learning_rate", "Learning rate", "", "Of the next step, as the log line tells it."},
    {"grad_norm", "Gradient norm", "", "Before clipping. The scale is logarithmic.", "", true},
    {"tflops_per_gpu", "Throughput", "TFLOP/s a GPU", "Of the model's own operations.", "throughput"},
    {"tokens_per_second", "Tokens", "thousand tokens a second", "Of the whole run.", "", false, true, 1e-3},
    {"milliseconds_per_iteration", "Time of a step", "ms",
     "Mean since the log line before; evaluations and saves do not count."},
    {"memory_max_allocated_bytes", "Memory", "GiB", "The most that was allocated so far, of the rank that tells most.",
     "", false, true, 1 / kGibibyte},
    {"attention_area_max_over_mean", "Balance of context-parallel work", "slowest rank / mean",
     "Attention cells of the rank that has most, by the mean: 1 is even. Documents make it uneven."},
    {"loss_scale", "Loss scale", "", "Falls where gradients overflowed, and the step was skipped.", "", true, false},
    {"global_batch_size", "Global batch size", "samples", "", "", false, false},
    {"params_norm", "Norm of the parameters", "", ""},
    {"num_zeros", "Zeros in the gradient", "elements", ""},
    {"decoupled_learning_rate", "Decoupled learning rate", "", "Of the embedding and the output layer."},
};

bool is_constant(const Curve& curve) {
  return std::ranges::all_of(curve.values, [&](double v) { return v == curve.values.front(); });
}

const Curve* find(const std::vector<Curve>& curves, const std::string& name) {
  const auto found = std::ranges::find(curves, name, &Curve::name);
  return found == curves.end() ? nullptr : &*found;
}

bool is_other_loss(const std::string& name) {
  return name != "lm loss" && name != "loss_scale" && name.find("loss") != std::string::npos;
}

// Those that do not lie in one another, in their order.
constexpr std::string_view kOuterParts[] = {"part forward-backward", "part all-grads-sync", "part optimizer"};
bool is_outer_part(std::string_view name) { return std::ranges::count(kOuterParts, name) > 0; }

}  // namespace

bool is_noisy(std::string_view name) {
  constexpr std::string_view kNoisy[] = {"lm loss",
                                         "grad_norm",
                                         "tflops_per_gpu",
                                         "tokens_per_second",
                                         "milliseconds_per_iteration",
                                         "attention_area_max_over_mean",
                                         "num_zeros"};
  return std::ranges::count(kNoisy, name) > 0;
}

Axes axes_of(const RunLog& run) {
  Axes axes;
  if (const std::string* length = run.option("seq_length")) {
    const auto [end, error] = std::from_chars(length->data(), length->data() + length->size(), axes.seq_length);
    if (error != std::errc() || !(axes.seq_length > 0)) axes.seq_length = 0;
  }
  double hours = 0, samples = 0;
  bool has_samples = false;
  std::int64_t before = run.steps.empty() ? 0 : run.steps.begin()->first - 1;
  for (const auto& [iteration, numbers] : run.steps) {
    const auto time = numbers.find("milliseconds_per_iteration");
    if (time != numbers.end() && std::isfinite(time->second))
      hours += time->second * static_cast<double>(iteration - before) / 3.6e6;
    before = iteration;
    const auto consumed = numbers.find("consumed_samples");
    if (consumed != numbers.end()) {
      samples = consumed->second;
      has_samples = true;
    }
    axes.iterations.push_back(static_cast<double>(iteration));
    axes.hours.push_back(hours);
    axes.samples.push_back(samples);
  }
  if (!has_samples) axes.samples.clear();
  return axes;
}

std::vector<Curve> curves_of(const RunLog& run) {
  const double seq_length = axes_of(run).seq_length;
  std::map<std::string, Curve> curves;
  const auto add = [&](const std::string& name, std::int64_t iteration, double value) {
    Curve& curve = curves[name];
    curve.name = name;
    curve.iterations.push_back(static_cast<double>(iteration));
    curve.values.push_back(value);
  };
  for (const auto& [iteration, numbers] : run.steps) {
    for (const auto& [name, value] : numbers) {
      const auto kind = std::ranges::find_if(kCharts, [&](const ChartKind& k) { return name == k.series; });
      if (kind != std::end(kCharts))
        add(name, iteration, value * kind->factor);
      else if (is_other_loss(name) || is_outer_part(name))
        add(name, iteration, value);
    }
    const auto batch = numbers.find("global_batch_size"), time = numbers.find("milliseconds_per_iteration");
    if (!numbers.contains("tokens_per_second") && batch != numbers.end() && time != numbers.end() && seq_length > 0 &&
        time->second > 0) {
      add("tokens_per_second", iteration, batch->second * seq_length / time->second);  // thousands
    }
  }
  std::vector<Curve> out;
  for (auto& [name, curve] : curves) out.push_back(std::move(curve));
  return out;
}

std::vector<Chart> charts_of(const std::vector<std::vector<Curve>>& runs, bool has_evaluations) {
  std::vector<Chart> charts;
  for (const ChartKind& kind : kCharts) {
    const bool is_shown = std::ranges::any_of(runs, [&](const std::vector<Curve>& curves) {
      const Curve* curve = find(curves, kind.series);
      return curve != nullptr && (kind.shows_constant || !is_constant(*curve));
    });
    if (is_shown || (has_evaluations && kind.kind == std::string_view("loss")))
      charts.push_back({kind.title, kind.unit, kind.help, {kind.series}, kind.kind, kind.is_log});
  }
  const auto some_run_has = [&](std::string_view name) {
    return std::ranges::any_of(runs, [&](const std::vector<Curve>& curves) { return find(curves, std::string(name)); });
  };
  std::set<std::string> others;
  for (const std::vector<Curve>& curves : runs) {
    for (const Curve& curve : curves)
      if (is_other_loss(curve.name)) others.insert(curve.name);
  }
  for (const std::string& name : others) charts.push_back({name, "", "A loss of its own.", {name}, "", false});
  Chart parts = {"Parts of a step", "ms", "The slowest rank's time in each part, over the run.", {}, "parts", false};
  for (const std::string_view name : kOuterParts)
    if (some_run_has(name)) parts.series.emplace_back(name);
  if (!parts.series.empty()) charts.push_back(std::move(parts));
  return charts;
}

}  // namespace ringtron
