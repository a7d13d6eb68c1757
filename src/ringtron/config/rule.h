// One rule between options: when it is broken and what to say then. Internal to config/.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ringtron/config/config.h"

namespace ringtron::internal {

// What rules look at. In `filled` derived values are filled as far as the given ones allow; a rule must not
// divide by a value that may still be 0.
struct RuleInput {
  const Config& given;
  const Config& filled;
  int world_size;
  int data_parallel_size;  // 0: the world does not divide
};

struct Rule {
  std::string_view flags;  // the flags it is about, separated by blanks
  bool (*broken)(const RuleInput&);
  std::string (*message)(const RuleInput&);  // expected, got
  std::string_view fix;                      // what to do; empty where the message ends with it
};

std::span<const Rule> parallel_rules();
std::span<const Rule> pipeline_rules();
std::span<const Rule> strict_megatron_rules();
std::span<const Rule> model_rules();
std::span<const Rule> hybrid_rules();
std::span<const Rule> training_rules();
std::span<const Rule> batch_rules();
std::span<const Rule> recompute_rules();
std::span<const Rule> data_rules();
std::span<const Rule> size_rules();

// "1008 or 1016": the multiples of `unit` around `value`, as far as they are positive.
std::string multiples_near(long long value, long long unit);

}  // namespace ringtron::internal
