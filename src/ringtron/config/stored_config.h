// The configuration that a checkpoint keeps, read without forgiveness and compared with the run's, as the option
// tables declare it field by field (OnLoad in option.h).
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/config/option.h"
#include "ringtron/config/resolved_config.h"

namespace ringtron {

// Values that no flag has but that follow from what flags name, by key. The caller adds them to what config_to_json has
// written; which there are and what a load does about each: derived_values().
using DerivedValues = std::map<std::string, std::string>;

struct DerivedValue {
  std::string_view key;
  std::string_view what;  // for people, with the flags
  OnLoad on_load;
  std::string_view advice;  // where a difference is refused
};
std::span<const DerivedValue> derived_values();

// Kind and content of the tokenizer's vocabulary: files of the same name may hold another one.
inline constexpr const char* kVocabularyKey = "vocabulary";

struct StoredConfig {
  Config config;                     // members that are absent have their defaults
  std::vector<std::string> absent;   // flags whose member is missing: an older version knew them not
  DerivedValues derived;             // those that are there
  std::vector<std::string> unknown;  // members that no flag has: a newer version has written them
};

// Reads what config_to_json has written. Throws IoError that names the member, what was expected and what is there,
// for anything but an object whose members have the types and, unless they are OnLoad::free, the ranges of their
// flags.
StoredConfig read_stored_config(const nlohmann::json& stored);

// `config` with the stored values of all flags that a load compares because the weights depend on them
// (OnLoad::must_equal, finetune, positions), and the length of samples and the kind of tokenizer; of those that are
// there.
Config with_model_of(StoredConfig stored, Config config);

// One line each, with the flag and both values: "--num-attention-heads: 4 in the checkpoint, 2 here".
struct StoredDifferences {
  std::vector<std::string> refused;  // the checkpoint must not be loaded
  std::vector<std::string> told;     // it may be, and the user is to be told
};

// `derived` belongs to `current`; its --finetune, --skip-train and schedule flags count. A member
// that is absent stands for the flag's default, or, where a flag has none, is not compared and told; where not even the
// tokenizer is there, only what is there is compared. What has no
// effect (--rotary-base without rotary positions) is not compared.
StoredDifferences compare_stored_config(const StoredConfig& stored, const ResolvedConfig& current,
                                        const DerivedValues& derived);

namespace internal {

// The same of any two configurations: for tests that change one field of many.
StoredDifferences compare_configurations(const StoredConfig& stored, const Config& current,
                                         const DerivedValues& derived);

}  // namespace internal

}  // namespace ringtron
