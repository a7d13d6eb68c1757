// A model of the Hugging Face hub as its config.json describes it: its family, and the flags that make the same model
// here.
//
// Known: Llama 2 and 3, Mistral, Qwen2 and 2.5, Qwen3 (dense), GPT-2. Pure functions over text; without LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "ringtron/checkpoint/dtype.h"
#include "ringtron/config/stored_config.h"

namespace ringtron {

enum class HfFamily { llama, mistral, qwen2, qwen3, gpt2 };

// "llama": what config.json calls it.
std::string_view model_type_of(HfFamily family);

struct HfModel {
  HfFamily family = HfFamily::llama;
  // The model's flags, filled in, and its dropout; all others have their defaults.
  Config config;
  std::int64_t vocabulary = 0;  // rows of the word embedding
};

// Reads config.json of `folder`. Throws IoError that names the file and the member for an architecture that is not
// known (with those that are), for what a known one can ask for and Ringtron has not, and for what is missing.
HfModel read_hf_config(const std::filesystem::path& folder);

// The members of config.json. `model` has its defaults filled in. Throws ConfigError that says which flags no family
// has.
nlohmann::ordered_json hf_config_of(const ModelConfig& model, std::int64_t vocabulary, DType dtype);
HfFamily family_of(const ModelConfig& model);

// What a load compares with the run, as of a checkpoint that was made with these flags: all flags but the model's are
// absent.
StoredConfig stored_config_of(const HfModel& model);
// The same as a checkpoint keeps it.
nlohmann::json stored_json_of(const HfModel& model);

}  // namespace ringtron
