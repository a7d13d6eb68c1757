#include "ringtron/train/run_metadata.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/strict_json.h"
#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/config/config_text.h"

namespace ringtron {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostSamples = 1'000'000'000'000'000;  // so that sums and products with batch sizes stay numbers
constexpr std::int64_t kMostSteps = std::int64_t{1} << 53;    // which fp64 counts exactly
constexpr const char* kWhere = "metadata";

// Texts, as lr_schedule writes them. What they must say it checks itself; it takes "inf" and "nan" for numbers.
ScheduleState read_schedule(const json& metadata, std::int64_t consumed_samples) {
  const std::string where = "metadata.opt_param_scheduler";
  const json& value = object_member(metadata, "opt_param_scheduler", kWhere);
  ScheduleState schedule;
  for (const auto& [key, text] : value.items()) {
    schedule[key] = text_member(value, key.c_str(), where);
    double number = 0.0;
    const std::string& digits = schedule[key];
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size() && !std::isfinite(number)) {
      throw IoError(fmt::format("{}.{}: expected a finite number, got {}", where, key, digits));
    }
  }
  const std::string steps = text_member(value, "num_steps", where);
  std::int64_t samples = -1;
  const auto parsed = std::from_chars(steps.data(), steps.data() + steps.size(), samples);
  if (parsed.ec != std::errc() || parsed.ptr != steps.data() + steps.size() || samples < 0 ||
      samples > consumed_samples) {
    throw IoError(fmt::format("{}.num_steps: expected a whole number from 0 to the {} samples consumed, got {}", where,
                              consumed_samples, shown(steps)));
  }
  return schedule;
}

LossScaleState read_loss_scale(const json& metadata) {
  const std::string where = "metadata.grad_scaler";
  const json& value = object_member(metadata, "grad_scaler", kWhere);
  const json& scale = member(value, "scale", where);
  if (!scale.is_number() || !std::isfinite(scale.get<double>()) || scale.get<double>() <= 0.0)
    throw IoError(fmt::format("{}.scale: expected a number above 0, got {}", where, shown(scale)));
  return {scale.get<double>(), count_member(value, "growth_tracker", where, kMostSteps),
          integer(member(value, "hysteresis_tracker", where), where + ".hysteresis_tracker", -kMostSteps, kMostSteps)};
}

// The iteration at which this run began to count: that of the checkpoint it loaded.
std::int64_t first_iteration_of(const RunMetadata& run) {
  std::int64_t before = 0;
  for (const Ancestor& ancestor : run.lineage.ancestors) {
    if (ancestor.iteration < before || ancestor.iteration > run.progress.iteration) {
      throw IoError(fmt::format("metadata.lineage.ancestors: expected iterations that go up to {}, got {} behind {}",
                                run.progress.iteration, ancestor.iteration, before));
    }
    before = ancestor.iteration;
  }
  return before;
}

// Every iteration of a run consumes one global batch, of the size that is due. Without an ancestor there is nothing
// else; of earlier runs, which may have had other batches, only that each iteration consumed something is known.
void require_possible_samples(const RunMetadata& run) {
  const BatchConfig& batch = run.configuration.config.batch;
  const std::int64_t iteration = run.progress.iteration;
  const std::int64_t samples = run.progress.consumed_train_samples, before = first_iteration_of(run);
  if (batch.global_batch_size < 1) return;  // not recorded
  const auto result = try_batch_schedule(batch, run.configuration.config.model.seq_length);
  if (const auto* fault = std::get_if<std::string>(&result))
    throw IoError(fmt::format("metadata.configuration: {}", *fault));
  const auto& schedule = std::get<BatchSchedule>(result);
  const bool fresh = run.lineage.ancestors.empty();
  if (fresh ? schedule.steps_of(samples) == iteration && schedule.samples_after(0, iteration) == samples
            : (samples - before) / schedule.smallest() >= iteration - before)
    return;
  throw IoError(fmt::format(
      "metadata.consumed_train_samples: expected {}one global batch of {} for each of the iterations {} to {}{}, got {}",
      fresh ? "" : "at least ", batch.global_batch_size, before + 1, iteration,
      fresh ? "" : ", and a sample for each before", samples));
}

// The optimizer counts every iteration from its own beginning on: that of the first run, or a load without its state
// (--no-load-optim), which is a load of one of the ancestors.
void require_possible_steps(const RunMetadata& run) {
  const std::int64_t began = run.progress.iteration - run.optimizer_step_count;
  if (began == 0) return;
  const auto& ancestors = run.lineage.ancestors;
  std::vector<std::string> possible = {fmt::format("{}", run.progress.iteration)};
  for (const Ancestor& ancestor : ancestors) {
    if (ancestor.iteration == began) return;
    possible.push_back(fmt::format("{}", run.progress.iteration - ancestor.iteration));
  }
  // The first one known may have had loads before it.
  if (!run.lineage.has_all_ancestors() && began <= ancestors.front().iteration) return;
  throw IoError(
      fmt::format("metadata.optimizer_step_count: expected one step for each of the {} iterations, or for each since a "
                  "checkpoint that was loaded ({}), got {}",
                  run.progress.iteration, excerpt(join(possible, ", "), 200), run.optimizer_step_count));
}

// What the counts of a run say about each other. Versions that kept no lineage did not say what a run had behind it.
void require_possible_counts(const RunMetadata& run) {
  if (run.lineage.run.empty()) return;
  require_possible_samples(run);
  require_possible_steps(run);
  const std::string samples = fmt::format("{}", run.progress.consumed_train_samples - run.progress.skipped_samples);
  if (run.schedule.at("num_steps") != samples) {  // both go on by a batch at every iteration, and over every load
    throw IoError(fmt::format(
        "metadata.opt_param_scheduler.num_steps: expected the {} samples that are consumed{}, got {}", samples,
        run.progress.skipped_samples > 0 ? " in steps that were not skipped" : "", run.schedule.at("num_steps")));
  }
}

}  // namespace

json run_metadata_of(const TrainingState& state, const DerivedValues& derived, const Lineage& lineage) {
  json configuration = json::parse(config_to_json(state.config));
  for (const auto& [key, value] : derived) configuration[key] = value;
  json schedule = json::object();
  for (const auto& [key, value] : state.schedule.state()) schedule[key] = value;
  json out = {{"iteration", state.progress.iteration},
              {"consumed_train_samples", state.progress.consumed_train_samples},
              {"consumed_valid_samples", state.progress.consumed_valid_samples},
              {"optimizer_step_count", state.optimizer.step_count()},
              {"has_optimizer", !state.config->checkpoint.no_save_optim},
              {"opt_param_scheduler", schedule},
              {"configuration", std::move(configuration)},
              {"lineage", lineage_to_json(lineage)},
              {"data", data_facts_to_json(state.data)}};
  if (state.progress.skipped_samples > 0) {
    out["skipped_samples"] = state.progress.skipped_samples;
    out["optimizer_skipped_steps"] = state.optimizer.skipped_count();
  }
  if (state.loss_scale) {
    const LossScaleState scale = state.loss_scale->state();
    out["grad_scaler"] = {{"scale", scale.scale},
                          {"growth_tracker", scale.growth_tracker},
                          {"hysteresis_tracker", scale.hysteresis_tracker}};
  }
  return out;
}

RunMetadata read_run_metadata(const Manifest& manifest) {
  const json& metadata = manifest.metadata;
  RunMetadata out;
  out.progress.iteration = count_member(metadata, "iteration", kWhere, kMostSamples);
  if (out.progress.iteration != manifest.iteration) {
    throw IoError(
        fmt::format("metadata.iteration is {}, the checkpoint's is {}", out.progress.iteration, manifest.iteration));
  }
  out.progress.consumed_train_samples = integer(member(metadata, "consumed_train_samples", kWhere),
                                                "metadata.consumed_train_samples", manifest.iteration, kMostSamples);
  out.progress.consumed_valid_samples = count_member(metadata, "consumed_valid_samples", kWhere, kMostSamples);
  if (metadata.contains("skipped_samples")) {  // where --fp16 has skipped steps
    out.progress.skipped_samples =
        count_member(metadata, "skipped_samples", kWhere, out.progress.consumed_train_samples);
    out.optimizer_skipped_steps = count_member(metadata, "optimizer_skipped_steps", kWhere, manifest.iteration);
  }
  out.optimizer_step_count = count_member(metadata, "optimizer_step_count", kWhere, manifest.iteration);
  if (out.optimizer_skipped_steps > out.optimizer_step_count) {
    throw IoError(fmt::format("metadata.optimizer_skipped_steps: expected at most the {} steps, got {}",
                              out.optimizer_step_count, out.optimizer_skipped_steps));
  }
  out.has_optimizer = bool_member(metadata, "has_optimizer", kWhere);
  if (metadata.contains("grad_scaler")) out.loss_scale = read_loss_scale(metadata);
  out.schedule = read_schedule(metadata, out.progress.consumed_train_samples);
  try {
    out.configuration = read_stored_config(object_member(metadata, "configuration", kWhere));
  } catch (const IoError& e) {
    throw IoError(fmt::format("metadata.{}", std::string(e.what()).starts_with("metadata.") ? e.what() + 9 : e.what()));
  }
  out.lineage = lineage_of_metadata(metadata);
  out.data = data_facts_of_metadata(metadata);
  require_possible_counts(out);
  return out;
}

}  // namespace ringtron
