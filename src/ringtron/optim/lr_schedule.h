// Learning rate and weight decay as functions of the samples consumed so far.
//
// Megatron's formulas. The unit is the sample, so the schedule does not depend on the batch size. lr() and
// weight_decay() belong to the step about to be taken; advance() follows each successful step, so the first
// step sees 0 samples and, with a warm-up, the initial learning rate.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "ringtron/choices/choices.h"
#include "ringtron/optim/learning_rates.h"

namespace ringtron {

struct LrScheduleOptions {
  double max_lr = 0.0;
  double min_lr = 0.0;
  double init_lr = 0.0;            // where the warm-up begins
  double warmup_samples = 0.0;     // need not be whole: a fraction of decay_samples
  std::int64_t decay_samples = 0;  // the learning rate reaches min_lr here
  LrDecayStyle decay_style = LrDecayStyle::linear;
  WsdDecayStyle wsd_decay_style = WsdDecayStyle::exponential;
  std::int64_t wsd_decay_samples = 0;  // WSD only: length of the decay at the end
  double start_weight_decay = 0.0;
  double end_weight_decay = 0.0;
  WeightDecayStyle weight_decay_incr_style = WeightDecayStyle::constant;
  std::int64_t weight_decay_incr_samples = 0;

  bool operator==(const LrScheduleOptions&) const = default;
};

// Between which the schedule moves after the warm-up.
struct LrLimits {
  double most = 0.0, least = 0.0;
};

// What to do when a checkpoint's schedule differs from the command line's.
enum class ScheduleConflict {
  refuse,
  override_checkpoint,  // --override-opt-param-scheduler: the command line counts
  use_checkpoint,       // --use-checkpoint-opt-param-scheduler
};

using ScheduleState = std::map<std::string, std::string>;  // Megatron's names; numbers in shortest exact form

class LrSchedule {
 public:
  // `decoupled`: limits of the rate that word embedding and output layer have of their own, with all else the same; the
  // command line's alone, no checkpoint keeps them. Throws ConfigError, naming each contradiction.
  explicit LrSchedule(LrScheduleOptions options, std::optional<LrLimits> decoupled = {});

  double lr() const { return lr({options_.max_lr, options_.min_lr}); }
  LearningRates rates() const { return {lr(), decoupled_ ? std::optional(lr(*decoupled_)) : std::nullopt}; }
  double weight_decay() const;
  void advance(std::int64_t samples) { samples_ += samples; }

  std::int64_t samples() const { return samples_; }
  const LrScheduleOptions& options() const { return options_; }

  ScheduleState state() const;
  // Takes the position, and the options as `conflict` says. Throws ConfigError, listing every difference, if
  // they are refused, and if a key is missing or not a number.
  void load(const ScheduleState& state, ScheduleConflict conflict);

 private:
  double lr(const LrLimits& limits) const;

  LrScheduleOptions options_;
  std::optional<LrLimits> decoupled_;
  std::int64_t samples_ = 0;
};

}  // namespace ringtron
