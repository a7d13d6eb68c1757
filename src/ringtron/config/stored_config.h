// The configuration that a checkpoint keeps, read without forgiveness and compared with the run's, as the option
// tables declare it field by field (OnLoad in option.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ringtron/config/config.h"

namespace ringtron {

struct StoredConfig {
  Config config;                     // members that are absent have their defaults
  std::vector<std::string> absent;   // flags whose member is missing: an older version knew them not
  std::vector<std::string> unknown;  // members that no flag has: a newer version has written them
};

// Reads what config_to_json has written. Throws IoError that names the member, what was expected and what is there,
// for anything but an object whose members have the types and, unless they are OnLoad::free, the ranges of their
// flags.
StoredConfig read_stored_config(const nlohmann::json& stored);

// One line each, with the flag and both values: "--num-attention-heads: 4 in the checkpoint, 2 here".
struct StoredDifferences {
  std::vector<std::string> refused;  // the checkpoint must not be loaded
  std::vector<std::string> told;     // it may be, and the user is to be told
};

// `current` is resolved, its vocabulary filled in; its --finetune, --skip-train and schedule flags count. A member
// that is absent stands for the flag's default, or, where a flag has none, is not compared and told. What has no
// effect (--rotary-base without rotary positions) is not compared.
StoredDifferences compare_stored_config(const StoredConfig& stored, const Config& current);

}  // namespace ringtron
