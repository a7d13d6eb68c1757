#include "ringtron/train/run_metadata.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/strict_json.h"
#include "ringtron/config/config_text.h"

namespace ringtron {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostSamples = 1'000'000'000'000'000;  // so that sums and products with batch sizes stay numbers
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
  if (parsed.ec != std::errc() || parsed.ptr != steps.data() + steps.size() || samples < 0 || samples > consumed_samples) {
    throw IoError(fmt::format("{}.num_steps: expected a whole number from 0 to the {} samples consumed, got {}", where,
                              consumed_samples, shown(steps)));
  }
  return schedule;
}

}  // namespace

json run_metadata_of(const TrainingState& state, const Lineage& lineage) {
  json schedule = json::object();
  for (const auto& [key, value] : state.schedule.state()) schedule[key] = value;
  return {{"iteration", state.progress.iteration},
          {"consumed_train_samples", state.progress.consumed_train_samples},
          {"consumed_valid_samples", state.progress.consumed_valid_samples},
          {"optimizer_step_count", state.optimizer.step_count()},
          {"has_optimizer", !state.config.checkpoint.no_save_optim},
          {"opt_param_scheduler", schedule},
          {"configuration", json::parse(config_to_json(state.config))},
          {"lineage", lineage_to_json(lineage)}};
}

RunMetadata read_run_metadata(const Manifest& manifest) {
  const json& metadata = manifest.metadata;
  RunMetadata out;
  out.progress.iteration = count_member(metadata, "iteration", kWhere, kMostSamples);
  if (out.progress.iteration != manifest.iteration) {
    throw IoError(fmt::format("metadata.iteration is {}, the checkpoint's is {}", out.progress.iteration, manifest.iteration));
  }
  out.progress.consumed_train_samples =
      integer(member(metadata, "consumed_train_samples", kWhere), "metadata.consumed_train_samples", manifest.iteration,
              kMostSamples);
  out.progress.consumed_valid_samples = count_member(metadata, "consumed_valid_samples", kWhere, kMostSamples);
  out.optimizer_step_count = count_member(metadata, "optimizer_step_count", kWhere, manifest.iteration);
  out.has_optimizer = bool_member(metadata, "has_optimizer", kWhere);
  out.schedule = read_schedule(metadata, out.progress.consumed_train_samples);
  try {
    out.configuration = read_stored_config(object_member(metadata, "configuration", kWhere));
  } catch (const IoError& e) {
    throw IoError(fmt::format("metadata.{}", std::string(e.what()).starts_with("metadata.") ? e.what() + 9 : e.what()));
  }
  out.lineage = lineage_of_metadata(metadata);
  return out;
}

}  // namespace ringtron
