// Runs the tables of rules.
#include "ringtron/config/validate.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/error.h"
#include "ringtron/base/shown_message.h"
#include "ringtron/base/text.h"
#include "ringtron/config/option.h"
#include "ringtron/config/rule.h"

namespace ringtron {
namespace {

bool concerns(const internal::Rule& rule, std::span<const std::string> already_reported) {
  for (const std::string& flag : split(rule.flags, ' ')) {
    if (std::find(already_reported.begin(), already_reported.end(), flag) != already_reported.end()) return true;
  }
  return false;
}

// A Config made by a program instead of a command line has not been through the parser's checks of single
// values.
std::vector<std::string> check_single_values(const Config& config) {
  std::vector<std::string> faults;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      if (const auto wrong = check_option(option, config)) faults.push_back(fmt::format("{}: {}", option.name, *wrong));
    }
  }
  return faults;
}

}  // namespace

std::vector<std::string> validate(const Config& config, int world_size, std::span<const std::string> already_reported) {
  std::vector<std::string> faults = check_single_values(config);
  if (!faults.empty()) return faults;  // rules may rely on sizes being positive or 0
  const Config filled = fill_defaults(config, world_size).config;
  const internal::RuleInput input{config, filled, world_size, data_parallel_size(config.parallel, world_size)};
  for (const auto rules :
       {internal::parallel_rules(), internal::pipeline_rules(), internal::training_rules(), internal::batch_rules(),
        internal::model_rules(), internal::hybrid_rules(), internal::recompute_rules(), internal::data_rules(),
        internal::size_rules(), internal::strict_megatron_rules()}) {
    for (const internal::Rule& rule : rules) {
      if (concerns(rule, already_reported) || !rule.broken(input)) continue;
      std::string text = rule.message(input);
      if (!rule.fix.empty()) text += fmt::format("; {}", rule.fix);
      faults.push_back(std::move(text));
    }
  }
  return faults;
}

void throw_faults(const std::vector<std::string>& faults) {
  if (faults.empty()) return;
  if (faults.size() == 1) throw ConfigError(faults[0]);
  throw ConfigError(fmt::format("{} faults in the command line:{}", faults.size(), numbered(faults)));
}

int data_parallel_size(const ParallelConfig& parallel, int world_size) {
  // Divided one by one, so that no product can overflow.
  int rest = world_size;
  for (int size :
       {parallel.tensor_model_parallel_size, parallel.context_parallel_size, parallel.pipeline_model_parallel_size}) {
    if (size < 1 || rest % size != 0) return 0;
    rest /= size;
  }
  return rest;
}

std::string internal::multiples_near(long long value, long long unit) {
  const long long below = value / unit * unit;
  return below > 0 ? fmt::format("{} or {}", below, below + unit) : fmt::format("{}", unit);
}

}  // namespace ringtron
