#include "ringtron/tools/report/page_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "ringtron/tools/report/run_curves.h"
#include "ringtron/tools/report/run_facts.h"
#include "ringtron/tools/report/thin_out.h"

namespace ringtron {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kBuckets = 1200;
constexpr std::size_t kMostMarks = 600;  // of one kind
constexpr std::size_t kEnoughForMean = 100;

// Seven digits are more than a picture shows; NaN becomes null.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  const std::string text = fmt::format("{:.7g}", value);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Json numbers(const std::vector<double>& values, const std::vector<std::size_t>& kept) {
  Json all = Json::array();
  for (const std::size_t i : kept) all.push_back(rounded(values[i]));
  return all;
}

// With a mean that shows where it goes, if it is noisy and long.
Json curve_json(const Curve& curve) {
  const auto kept = thin_out(curve.values, kBuckets);
  Json out = {{"x", numbers(curve.iterations, kept)}, {"y", numbers(curve.values, kept)}};
  if (is_noisy(curve.name) && curve.values.size() >= kEnoughForMean)
    out["mean"] = numbers(moving_mean(curve.values, std::max<std::size_t>(3, curve.values.size() / 80)), kept);
  return out;
}

Json axes_json(const Axes& axes) {
  const auto kept = thin_out(axes.hours, kBuckets);
  Json out = {{"iteration", numbers(axes.iterations, kept)}, {"hours", numbers(axes.hours, kept)}};
  if (axes.samples.empty()) return out;
  out["samples"] = numbers(axes.samples, kept);
  if (axes.seq_length > 0) out["tokens"] = axes.seq_length;
  return out;
}

Json evaluations_json(const RunLog& run) {
  Json sets = Json::object();
  for (const LoggedEvaluation& e : run.evaluations) {
    Json& set = sets[e.set];
    set["x"].push_back(e.iteration);
    set["y"].push_back(rounded(e.loss));
  }
  return sets;
}

// The iterations of a kind, or evenly chosen ones if they are too many to tell apart.
Json some_of(const std::vector<std::int64_t>& iterations) {
  Json out = Json::array();
  const std::size_t step = iterations.size() / kMostMarks + 1;
  for (std::size_t i = 0; i < iterations.size(); i += step) out.push_back(iterations[i]);
  return out;
}

Json marks_json(const RunLog& run) {
  std::vector<std::int64_t> skipped, bad, falls;
  double scale = 0;
  for (const auto& [iteration, numbers] : run.steps) {
    const auto value = [&](const char* name) {
      const auto found = numbers.find(name);
      return found == numbers.end() ? 0.0 : found->second;
    };
    if (value("skipped_iterations") > 0) skipped.push_back(iteration);
    if (value("nan_iterations") > 0) bad.push_back(iteration);
    if (value("loss_scale") < scale) falls.push_back(iteration);
    scale = value("loss_scale");
  }
  Json seams = Json::array(), saves = Json::array();
  for (const Seam& seam : run.seams)
    seams.push_back({{"iteration", seam.iteration}, {"repeated", seam.repeated_lines}});
  std::vector<std::int64_t> saved;
  for (const LoggedTransfer& t : run.transfers)
    if (t.kind == LoggedTransfer::Kind::save) saved.push_back(t.iteration);
  return {{"seams", seams},
          {"skipped", some_of(skipped)},
          {"nan", some_of(bad)},
          {"scale", some_of(falls)},
          {"saves", some_of(saved)}};
}

Json transfers_json(const RunLog& run) {
  constexpr std::size_t kMost = 200;
  Json out = Json::array();
  const auto optional = [](const std::optional<double>& value) { return value ? rounded(*value) : Json(); };
  const std::size_t first = run.transfers.size() > kMost ? run.transfers.size() - kMost : 0;
  for (std::size_t i = first; i < run.transfers.size(); ++i) {
    const LoggedTransfer& t = run.transfers[i];
    out.push_back({{"kind", t.kind == LoggedTransfer::Kind::load ? "load" : "save"},
                   {"iteration", t.iteration},
                   {"time", t.time},
                   {"seconds", optional(t.seconds)},
                   {"bytes", optional(t.bytes)},
                   {"waited", optional(t.waited)}});
  }
  return out;
}

Json parts_json(const RunLog& run) {
  Json out = Json::array();
  for (const PartMean& part : run.parts) {
    Json ranks = Json::array();
    for (const double time : part.ranks) ranks.push_back(rounded(time));
    out.push_back(
        {{"name", part.name}, {"least", rounded(part.least)}, {"most", rounded(part.most)}, {"ranks", ranks}});
  }
  return out;
}

Json run_json(const RunLog& run, const std::vector<Curve>& curves) {
  Json series = Json::object();
  for (const Curve& curve : curves) series[curve.name] = curve_json(curve);
  Json out = {{"name", run.name},         {"axes", axes_json(axes_of(run))},
              {"series", series},         {"evaluations", evaluations_json(run)},
              {"marks", marks_json(run)}, {"transfers", transfers_json(run)},
              {"parts", parts_json(run)}, {"step", rounded(run.step_milliseconds)},
              {"notes", Json::array()}};
  for (const std::string& note : notes_of(run)) out["notes"].push_back(note);
  return out;
}

Json charts_json(const std::vector<std::vector<Curve>>& curves, bool has_evaluations) {
  Json out = Json::array();
  for (const Chart& chart : charts_of(curves, has_evaluations)) {
    out.push_back({{"title", chart.title},
                   {"unit", chart.unit},
                   {"help", chart.help},
                   {"series", chart.series},
                   {"kind", chart.kind},
                   {"log", chart.is_log}});
  }
  return out;
}

Json options_json(std::span<const RunLog> runs) {
  std::set<std::string> names;
  for (const RunLog& run : runs)
    for (const auto& [name, value] : run.options) names.insert(name);
  Json out = Json::array();
  for (const std::string& name : names) {
    Json values = Json::array();
    for (const RunLog& run : runs) values.push_back(run.option(name) == nullptr ? Json() : Json(*run.option(name)));
    const bool differ = runs.size() == 2 && !same_option(runs[0].option(name), runs[1].option(name));
    out.push_back({{"name", name}, {"values", values}, {"differ", differ}});
  }
  return out;
}

}  // namespace

std::string page_data(std::span<const RunLog> runs, std::optional<double> peak_tflops) {
  Json out = {{"runs", Json::array()}, {"peaks", Json::array()}};
  std::vector<std::vector<Curve>> curves;
  for (const RunLog& run : runs) {
    curves.push_back(curves_of(run));
    out["runs"].push_back(run_json(run, curves.back()));
    const std::optional<double> peak = peak_tflops ? peak_tflops : run.peak_tflops;
    out["peaks"].push_back(peak ? Json(*peak) : Json());
  }
  const bool has_evaluations = std::ranges::any_of(runs, [](const RunLog& run) { return !run.evaluations.empty(); });
  out["charts"] = charts_json(curves, has_evaluations);
  out["facts"] = Json::array();
  for (const auto& [label, values] : facts_of(runs, peak_tflops)) out["facts"].push_back({label, values});
  out["options"] = options_json(runs);
  // Text that is not UTF-8 is replaced: a log may hold anything.
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ringtron
