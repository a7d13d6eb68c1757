// Rules for schedules, and their form in a checkpoint. See lr_schedule_check.h.
#include "ringtron/optim/lr_schedule_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

class Faults {
 public:
  void expect(bool holds, const std::string& message) {
    if (!holds) list_.push_back(message);
  }
  void throw_if_any() const {
    if (!list_.empty()) throw ConfigError(fmt::format("Learning rate schedule:\n  {}", fmt::join(list_, "\n  ")));
  }

 private:
  std::vector<std::string> list_;
};

constexpr const char* kBatch = "--global-batch-size";

// What a key of the state is to a user.
struct Meaning {
  const char* key;
  const char* what;   // the flag, or what several flags make
  const char* unit;   // behind the values
  const char* flags;  // which make it, where `what` is no flag
};

constexpr Meaning kMeanings[] = {
    {"max_lr", "--lr", "", ""},
    {"min_lr", "--min-lr", "", ""},
    {"init_lr", "--lr-warmup-init", "", ""},
    {"lr_warmup_steps", "length of the warm-up", " samples",
     "--lr-warmup-iters x {batch}, --lr-warmup-samples, or --lr-warmup-fraction of the decay"},
    {"lr_decay_steps", "length of the decay", " samples",
     "--lr-decay-iters, else --train-iters, x {batch}; or --lr-decay-samples, else --train-samples"},
    {"lr_decay_style", "--lr-decay-style", "", ""},
    {"wsd_decay_style", "--lr-wsd-decay-style", "", ""},
    {"wsd_decay_steps", "length of the last phase of WSD", " samples",
     "--lr-wsd-decay-iters x {batch}, or --lr-wsd-decay-samples"},
    {"start_wd", "--start-weight-decay, else --weight-decay", "", ""},
    {"end_wd", "--end-weight-decay, else --weight-decay", "", ""},
    {"wd_incr_style", "--weight-decay-incr-style", "", ""},
    {"wd_incr_steps", "length of the increase of weight decay", " samples",
     "--train-iters x {batch}, or --train-samples"},
};

const std::string& text_of(const ScheduleState& state, const std::string& key) {
  const auto found = state.find(key);
  if (found == state.end())
    throw ConfigError(
        fmt::format("Schedule state of the checkpoint: expected the key '{}', which is missing; load with "
                    "--override-opt-param-scheduler or from another checkpoint",
                    key));
  return found->second;
}

template <Choice E>
E choice_of(const ScheduleState& state, const std::string& key) {
  const std::string& text = text_of(state, key);
  const std::optional<E> found = find_choice<E>(text);
  if (!found) {
    throw ConfigError(fmt::format(
        "Schedule state of the checkpoint: expected one of {} for '{}', got '{}'; load with --override-opt-param-scheduler",
        fmt::join(kWordsOf<E>, ", "), key, excerpt(text)));
  }
  return *found;
}

template <class T>
T number_of(const ScheduleState& state, const std::string& key) {
  const std::string& text = text_of(state, key);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw ConfigError(
        fmt::format("Schedule state of the checkpoint: expected a number for '{}', got '{}'; the "
                    "checkpoint is damaged, load another one",
                    key, excerpt(text)));
  return value;
}

}  // namespace

void check_lr_schedule(const LrScheduleOptions& o) {
  Faults faults;
  faults.expect(o.max_lr > 0.0, fmt::format("--lr: expected more than 0, got {}", o.max_lr));
  faults.expect(o.min_lr >= 0.0 && o.min_lr <= o.max_lr,
                fmt::format("--min-lr: expected 0 to --lr {}, got {}", o.max_lr, o.min_lr));
  faults.expect(o.init_lr >= 0.0 && o.init_lr <= o.max_lr,
                fmt::format("--lr-warmup-init: expected 0 to --lr {}, got {}", o.max_lr, o.init_lr));
  faults.expect(o.decay_samples > 0, fmt::format("length of the decay: expected more than 0 samples, got {}; set "
                                                 "--lr-decay-iters or --train-iters, or --lr-decay-samples or "
                                                 "--train-samples",
                                                 o.decay_samples));
  faults.expect(
      o.warmup_samples >= 0.0 && o.warmup_samples < static_cast<double>(o.decay_samples),
      fmt::format("length of the warm-up: expected 0 to less than the {} samples of the decay, got {} samples; lower "
                  "--lr-warmup-iters (-samples, -fraction) or raise --lr-decay-iters (-samples)",
                  o.decay_samples, o.warmup_samples));
  if (o.decay_style == LrDecayStyle::wsd) {
    faults.expect(
        o.wsd_decay_samples > 0 && o.wsd_decay_samples <= o.decay_samples,
        fmt::format("--lr-wsd-decay-iters or --lr-wsd-decay-samples: expected 1 to the {} samples of the decay, got "
                    "{} samples",
                    o.decay_samples, o.wsd_decay_samples));
  }
  faults.expect(o.start_weight_decay >= 0.0 && o.start_weight_decay <= o.end_weight_decay,
                fmt::format("weight decay: expected 0 <= --start-weight-decay <= --end-weight-decay, got {} and {}",
                            o.start_weight_decay, o.end_weight_decay));
  if (o.weight_decay_incr_style == WeightDecayStyle::constant)
    faults.expect(
        o.start_weight_decay == o.end_weight_decay,
        fmt::format(
            "--weight-decay-incr-style constant: expected equal --start-weight-decay and --end-weight-decay, got {} "
            "and {}",
            o.start_weight_decay, o.end_weight_decay));
  else
    faults.expect(
        o.weight_decay_incr_samples > 0,
        fmt::format("--weight-decay-incr-style {}: expected a run of more than 0 samples, got {}; set --train-iters or "
                    "--train-samples",
                    word_of(o.weight_decay_incr_style), o.weight_decay_incr_samples));
  faults.throw_if_any();
}

ScheduleState schedule_options_to_state(const LrScheduleOptions& o) {
  return {{"max_lr", fmt::format("{}", o.max_lr)},
          {"min_lr", fmt::format("{}", o.min_lr)},
          {"init_lr", fmt::format("{}", o.init_lr)},
          {"lr_warmup_steps", fmt::format("{}", o.warmup_samples)},
          {"lr_decay_steps", fmt::format("{}", o.decay_samples)},
          {"lr_decay_style", std::string(word_of(o.decay_style))},
          {"wsd_decay_style", std::string(word_of(o.wsd_decay_style))},
          {"wsd_decay_steps", fmt::format("{}", o.wsd_decay_samples)},
          {"start_wd", fmt::format("{}", o.start_weight_decay)},
          {"end_wd", fmt::format("{}", o.end_weight_decay)},
          {"wd_incr_style", std::string(word_of(o.weight_decay_incr_style))},
          {"wd_incr_steps", fmt::format("{}", o.weight_decay_incr_samples)}};
}

LrScheduleOptions schedule_options_from_state(const ScheduleState& state) {
  LrScheduleOptions o;
  o.max_lr = number_of<double>(state, "max_lr");
  o.min_lr = number_of<double>(state, "min_lr");
  o.init_lr = number_of<double>(state, "init_lr");
  o.warmup_samples = number_of<double>(state, "lr_warmup_steps");
  o.decay_samples = schedule_integer(state, "lr_decay_steps");
  o.decay_style = choice_of<LrDecayStyle>(state, "lr_decay_style");
  o.wsd_decay_style = choice_of<WsdDecayStyle>(state, "wsd_decay_style");
  o.wsd_decay_samples = schedule_integer(state, "wsd_decay_steps");
  o.start_weight_decay = number_of<double>(state, "start_wd");
  o.end_weight_decay = number_of<double>(state, "end_wd");
  o.weight_decay_incr_style = choice_of<WeightDecayStyle>(state, "wd_incr_style");
  o.weight_decay_incr_samples = schedule_integer(state, "wd_incr_steps");
  return o;
}

std::string schedule_difference(const std::string& key, const std::string& here, const std::string& there) {
  const auto meaning =
      std::find_if(std::begin(kMeanings), std::end(kMeanings), [&](const Meaning& m) { return key == m.key; });
  if (meaning == std::end(kMeanings))
    return fmt::format("{}: {} on the command line, {} in the checkpoint", key, here, there);
  const std::string flags = fmt::format(fmt::runtime(meaning->flags), fmt::arg("batch", kBatch));
  return fmt::format("{}: {}{} on the command line, {} in the checkpoint{}", meaning->what, here, meaning->unit, there,
                     flags.empty() ? "" : " (" + flags + ")");
}

std::int64_t schedule_integer(const ScheduleState& state, const std::string& key) {
  return number_of<std::int64_t>(state, key);
}

}  // namespace ringtron
