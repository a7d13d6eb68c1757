// The formulas of the schedules. See lr_schedule.h.
#include "ringtron/optim/lr_schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/optim/lr_schedule_check.h"

namespace ringtron {
namespace {

constexpr double kPi = 3.14159265358979323846;

// 1 at the beginning of the decay, 0 at its end; `ratio` in [0, 1].
double decay_coefficient(WsdDecayStyle style, double ratio) {
  switch (style) {
    case WsdDecayStyle::linear:
      return 1.0 - ratio;
    case WsdDecayStyle::cosine:
      return 0.5 * (std::cos(kPi * ratio) + 1.0);
    case WsdDecayStyle::exponential:
      return 2.0 * std::pow(0.5, ratio) - 1.0;
    case WsdDecayStyle::minus_sqrt:
      break;
  }
  return 1.0 - std::sqrt(ratio);
}

}  // namespace

LrSchedule::LrSchedule(LrScheduleOptions options, std::optional<LrLimits> decoupled)
    : options_(std::move(options)), decoupled_(decoupled) {
  check_lr_schedule(options_);
}

double LrSchedule::lr(const LrLimits& limits) const {
  const LrScheduleOptions& o = options_;
  const double n = static_cast<double>(samples_);
  const double decay = static_cast<double>(o.decay_samples);
  if (o.warmup_samples > 0.0 && n <= o.warmup_samples)
    return o.init_lr + (limits.most - o.init_lr) * n / o.warmup_samples;
  if (o.decay_style == LrDecayStyle::constant) return limits.most;
  if (n > decay) return limits.least;
  if (o.decay_style == LrDecayStyle::inverse_square_root)
    return std::max(limits.least,
                    limits.most * std::sqrt(std::max(o.warmup_samples, 1.0)) / std::sqrt(std::max(n, 1.0)));
  double coefficient = 1.0;
  if (o.decay_style == LrDecayStyle::wsd) {
    const double length = static_cast<double>(o.wsd_decay_samples);
    const double anneal_start = decay - length;
    if (n > anneal_start) coefficient = decay_coefficient(o.wsd_decay_style, (n - anneal_start) / length);
  } else {
    const auto style = o.decay_style == LrDecayStyle::cosine ? WsdDecayStyle::cosine : WsdDecayStyle::linear;
    coefficient = decay_coefficient(style, (n - o.warmup_samples) / (decay - o.warmup_samples));
  }
  return limits.least + coefficient * (limits.most - limits.least);
}

double LrSchedule::weight_decay() const {
  const LrScheduleOptions& o = options_;
  if (o.weight_decay_incr_style == WeightDecayStyle::constant || samples_ > o.weight_decay_incr_samples)
    return o.end_weight_decay;
  const double ratio = static_cast<double>(samples_) / static_cast<double>(o.weight_decay_incr_samples);
  const double coefficient =
      o.weight_decay_incr_style == WeightDecayStyle::linear ? ratio : 0.5 * (std::cos(kPi * (1.0 - ratio)) + 1.0);
  return o.start_weight_decay + coefficient * (o.end_weight_decay - o.start_weight_decay);
}

ScheduleState LrSchedule::state() const {
  ScheduleState state = schedule_options_to_state(options_);
  state["num_steps"] = fmt::format("{}", samples_);
  return state;
}

void LrSchedule::load(const ScheduleState& state, ScheduleConflict conflict) {
  const std::int64_t samples = schedule_integer(state, "num_steps");
  if (conflict != ScheduleConflict::override_checkpoint) {
    LrScheduleOptions loaded = schedule_options_from_state(state);
    if (conflict == ScheduleConflict::use_checkpoint) {
      check_lr_schedule(loaded);
      options_ = std::move(loaded);
    } else if (loaded != options_) {
      std::vector<std::string> differences;
      for (const auto& [key, value] : schedule_options_to_state(options_))
        if (state.at(key) != value) differences.push_back(schedule_difference(key, value, state.at(key)));
      throw ConfigError(fmt::format(
          "The schedule of the checkpoint differs from the command line's:\n  {}\n  Give the same flags, or "
          "--override-opt-param-scheduler to follow the command line, or "
          "--use-checkpoint-opt-param-scheduler to "
          "follow the checkpoint.",
          fmt::join(differences, "\n  ")));
    }
  }
  samples_ = samples;
}

}  // namespace ringtron
