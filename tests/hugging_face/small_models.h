// The small models that transformers has saved (tests/golden/make_hugging_face.py), and copies of them to spoil.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "ringtron/base/file.h"
#include "tests/support/temp_dir.h"

namespace ringtron::testing {

inline constexpr const char* kSmallModels[] = {"llama2", "llama3", "mistral", "qwen2", "qwen3", "gpt2"};

inline std::filesystem::path small_model(const std::string& name) {
  return std::filesystem::path(RINGTRON_SOURCE_DIR) / "tests/golden/hugging_face" / name;
}

// A copy whose config.json `change` has changed.
class ChangedModel {
 public:
  explicit ChangedModel(const std::string& name, const std::function<void(nlohmann::json& config)>& change = {}) {
    std::filesystem::copy(small_model(name), folder());
    if (!change) return;
    nlohmann::json config = nlohmann::json::parse(read_file(folder() / "config.json"));
    change(config);
    write_file_atomically(folder() / "config.json", config.dump());
  }
  std::filesystem::path folder() const { return dir_ / "model"; }

 private:
  TempDir dir_;
};

}  // namespace ringtron::testing
