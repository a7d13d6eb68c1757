// Weights of a Hugging Face folder into a checkpoint of ours, and back, tensor by tensor: memory does not grow with the
// model. Every value keeps its bits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace ringtron {

// Called now and then with the bytes that are written and those there will be. What it throws ends the conversion.
using ConvertProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

struct ConvertSummary {
  std::string model_type;  // "qwen3"
  std::int64_t layers = 0, tensors = 0, parameters = 0;
  std::uint64_t bytes = 0;
  std::filesystem::path folder;  // what was written
};

// Writes the checkpoint of iteration 0 into `save`, without optimizer state: for --load SAVE --finetune. Throws IoError
// (hf_folder.h, and for what cannot be written), ConfigError if `save` holds checkpoints already. Nothing is left of a
// conversion that fails.
ConvertSummary import_hf(const std::filesystem::path& from, const std::filesystem::path& save,
                         const ConvertProgress& progress);

// Writes config.json and safetensors of at most `shard_bytes` each into `to`, which must be absent or empty, from the
// checkpoint of `iteration` in `load`, 0: the one that was saved last. config.json is written last. Rows that pad the
// vocabulary are in no checkpoint, and so not in what is written. Throws IoError for a checkpoint that is damaged,
// ConfigError for a model that no family has.
ConvertSummary export_hf(const std::filesystem::path& load, std::int64_t iteration, const std::filesystem::path& to,
                         std::uint64_t shard_bytes, const ConvertProgress& progress);

}  // namespace ringtron
