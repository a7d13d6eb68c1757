#include "ringtron/tools/report/run_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "ringtron/base/text.h"
#include "ringtron/tools/report/run_curves.h"

namespace ringtron {
namespace {

double last_of(const RunLog& run, std::string_view number) {
  for (auto step = run.steps.rbegin(); step != run.steps.rend(); ++step) {
    const auto found = step->second.find(number);
    if (found != step->second.end()) return found->second;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::string if_finite(double value, std::string_view format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : std::string();
}

std::string iterations(const RunLog& run) {
  if (run.steps.empty()) return "";
  const std::int64_t last = run.steps.rbegin()->first;
  return run.train_iterations > 0 ? fmt::format("{} of {}", grouped(last), grouped(run.train_iterations))
                                  : grouped(last);
}

std::string duration(double hours) {
  if (!(hours < 1e9)) return "";  // no log of a run
  const auto minutes = static_cast<std::int64_t>(hours * 60);
  if (minutes >= 60) return fmt::format("{} h {} min", grouped(minutes / 60), minutes % 60);
  return hours * 60 >= 10 ? fmt::format("{} min", minutes) : fmt::format("{:.1f} s", hours * 3600);
}

std::string time_of_steps(const RunLog& run) {
  const Axes axes = axes_of(run);
  return axes.hours.empty() || axes.hours.back() <= 0 ? "" : duration(axes.hours.back());
}

std::string short_count(double count) {
  constexpr std::pair<double, const char*> kSteps[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
  for (const auto& [size, letter] : kSteps)
    if (count >= size) return fmt::format("{:.3g} {}", count / size, letter);
  return fmt::format("{:.0f}", count);
}

std::string tokens(const RunLog& run) {
  const Axes axes = axes_of(run);
  return axes.samples.empty() || axes.seq_length <= 0 ? "" : short_count(axes.samples.back() * axes.seq_length);
}

std::string tokens_a_second(const RunLog& run) {
  for (const Curve& curve : curves_of(run)) {
    if (curve.name != "tokens_per_second") continue;
    std::vector<double> values = curve.values;
    std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
    return short_count(values[values.size() / 2] * 1e3);
  }
  return "";
}

// The last of the set that training evaluated; several sets have a curve each.
std::string validation_loss(const RunLog& run) {
  for (auto e = run.evaluations.rbegin(); e != run.evaluations.rend(); ++e)
    if (e->set.find("validation") != std::string::npos) return if_finite(e->loss, "{:.4f}");
  return "";
}

std::string throughput(const RunLog& run, std::optional<double> peak) {
  const double tflops = median_of(run, "tflops_per_gpu");
  if (!std::isfinite(tflops)) return "";
  const std::string text = fmt::format("{:.4g}", tflops);
  return peak ? fmt::format("{} ({:.1f}%)", text, tflops / *peak * 100) : text;
}

std::string memory(const RunLog& run) {
  double most = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [iteration, numbers] : run.steps) {
    const auto found = numbers.find("memory_max_allocated_bytes");
    if (found != numbers.end()) most = std::isnan(most) ? found->second : std::max(most, found->second);
  }
  return if_finite(most / (1024.0 * 1024.0 * 1024.0), "{:.3g} GiB");
}

std::string ranks(const RunLog& run) {
  if (run.world_size == 0) return "";
  return run.device.empty() ? fmt::format("{}", run.world_size) : fmt::format("{} × {}", run.world_size, run.device);
}

// "TP 2, CP 4": those that are not 1.
std::string layout(const RunLog& run) {
  constexpr std::pair<const char*, const char*> kAxes[] = {{"tensor_model_parallel_size", "TP"},
                                                           {"pipeline_model_parallel_size", "PP"},
                                                           {"context_parallel_size", "CP"},
                                                           {"data_parallel_size", "DP"}};
  std::vector<std::string> parts;
  for (const auto& [name, word] : kAxes) {
    const std::string* size = run.option(name);
    if (size != nullptr && *size != "1") parts.push_back(fmt::format("{} {}", word, *size));
  }
  return join(parts, ", ");
}

std::string sum_of(const RunLog& run, std::string_view number) {
  double sum = 0;
  for (const auto& [iteration, numbers] : run.steps) {
    const auto found = numbers.find(number);
    if (found != numbers.end() && std::isfinite(found->second)) sum += found->second;
  }
  return sum > 0 && sum < 1e15 ? grouped(static_cast<std::int64_t>(sum)) : "";
}

std::optional<double> as_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

}  // namespace

double median_of(const RunLog& run, std::string_view number) {
  std::vector<double> values;
  for (const auto& [iteration, numbers] : run.steps) {
    const auto found = numbers.find(number);
    if (found != numbers.end() && std::isfinite(found->second)) values.push_back(found->second);
  }
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

std::vector<std::pair<std::string, std::vector<std::string>>> facts_of(std::span<const RunLog> runs,
                                                                       std::optional<double> peak_tflops) {
  std::vector<std::pair<std::string, std::vector<std::string>>> facts;
  const auto add = [&](const char* label, auto fact) {
    std::vector<std::string> values;
    for (const RunLog& run : runs) values.push_back(fact(run));
    if (std::ranges::any_of(values, [](const std::string& v) { return !v.empty(); })) facts.emplace_back(label, values);
  };
  add("Iterations", iterations);
  add("Training loss", [](const RunLog& run) { return if_finite(last_of(run, "lm loss"), "{:.4f}"); });
  add("Validation loss", validation_loss);
  add("Tokens", tokens);
  add("Time of all steps", time_of_steps);
  add("Time of a step",
      [](const RunLog& run) { return if_finite(median_of(run, "milliseconds_per_iteration"), "{:.4g} ms"); });
  add("Tokens a second", tokens_a_second);
  add("TFLOP/s a GPU", [&](const RunLog& run) { return throughput(run, peak_tflops ? peak_tflops : run.peak_tflops); });
  add("Memory", memory);
  add("Ranks", ranks);
  add("Layout", layout);
  add("Skipped iterations", [](const RunLog& run) { return sum_of(run, "skipped_iterations"); });
  add("NaN iterations", [](const RunLog& run) { return sum_of(run, "nan_iterations"); });
  return facts;
}

std::vector<std::string> notes_of(const RunLog& run) {
  std::vector<std::string> notes;
  const auto lines = [](std::int64_t count) {
    return fmt::format("{} log line{}", grouped(count), count == 1 ? "" : "s");
  };
  constexpr std::size_t kMost = 12;
  for (std::size_t i = 0; i < run.seams.size() && i < kMost; ++i) {
    const Seam& seam = run.seams[i];
    if (seam.iteration == 0 && seam.repeated_lines > 0) {
      notes.push_back(fmt::format("begun anew: {} of before are left out", lines(seam.repeated_lines)));
    } else {
      notes.push_back(
          fmt::format("went on from iteration {}{}", grouped(seam.iteration),
                      seam.repeated_lines == 0
                          ? ""
                          : fmt::format("; {} of before lay behind it and are left out", lines(seam.repeated_lines))));
    }
  }
  if (run.seams.size() > kMost) notes.push_back(fmt::format("and {} more starts", run.seams.size() - kMost));
  if (run.unread_lines > 0)
    notes.push_back(fmt::format("{} could not be read, or not to the end", lines(run.unread_lines)));
  if (run.steps.empty()) notes.push_back("no steps in the log: it holds evaluations alone");
  return notes;
}

bool same_option(const std::string* here, const std::string* there) {
  if (here == nullptr || there == nullptr) return here == there;
  if (*here == *there) return true;
  const auto a = as_number(*here), b = as_number(*there);
  return a && b && *a == *b;
}

}  // namespace ringtron
