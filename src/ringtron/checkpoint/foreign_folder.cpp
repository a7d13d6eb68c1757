#include "ringtron/checkpoint/foreign_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <system_error>

#include "ringtron/base/error.h"
#include "ringtron/base/guarded_file.h"
#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/checkpoint/manifest.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOwnFormatOnly =
    "Ringtron reads only what --save of its own pretrain_gpt has written (docs/formats/checkpoint.md)";

constexpr std::string_view kHuggingFace = "Hugging Face Transformers";

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

using Names = std::vector<std::string>;

bool has(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool has_prefix(const Names& names, std::string_view prefix) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return name.starts_with(prefix); });
}

bool has_suffix(const Names& names, std::string_view suffix) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return name.ends_with(suffix); });
}

// The folder above, also of "a/b/".
fs::path above(const fs::path& path) {
  std::error_code ignored;
  fs::path whole = fs::absolute(path, ignored).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  return whole.parent_path();
}

// Kinds that show in the folder itself.
std::string program_of(const Names& names) {
  if (has_prefix(names, "mp_rank_") || has(names, "model_optim_rng.pt")) return "Megatron-LM (torch format)";
  if (has_suffix(names, ".distcp") || has(names, ".metadata") || has(names, "common.pt")) {
    return has(names, "metadata.json") || has(names, "common.pt") ? "Megatron-LM (torch_dist format)"
                                                                  : "PyTorch (distributed checkpoint)";
  }
  if (has_prefix(names, "global_step") && has(names, "latest")) return "DeepSpeed";
  const bool weights = has_suffix(names, ".safetensors") || has_prefix(names, "pytorch_model") ||
                       has_suffix(names, ".safetensors.index.json");
  if (has(names, "config.json") && weights) return std::string(kHuggingFace);
  if (has(names, "params.json") && has_suffix(names, ".pth")) return "Llama's reference code";
  if (has_suffix(names, ".nemo") || has(names, "model_config.yaml")) return "NeMo";
  if (has_suffix(names, ".pt") || has_suffix(names, ".pth") || has_suffix(names, ".ckpt") ||
      has_suffix(names, ".bin")) {
    return "PyTorch";
  }
  return "";
}

std::string foreign_text(const std::string& program) {
  return fmt::format("is a checkpoint of {}. {}{}", program, kOwnFormatOnly,
                     program == kHuggingFace ? "; convert_checkpoint --from-hf makes that of safetensors" : "");
}

// "--load DIR": how to ask for `path`.
std::string asking_for(const fs::path& path, FolderUse use) {
  return (use == FolderUse::load ? "--load " : "inspect checkpoint ") + path.string();
}

std::string file_text(const fs::path& file, FolderUse use) {
  if (const std::string kind = not_a_file(file); !kind.empty()) return "is " + kind + ", not a folder of checkpoints";
  const std::string name = file.filename().string();
  const fs::path folder = above(file);
  if (name == kManifestName || name.starts_with("shard_")) {
    return use == FolderUse::load
               ? fmt::format("is one file of a checkpoint. Give the folder that holds the folders iter_...: {}",
                             asking_for(above(folder), use))
               : fmt::format("is one file of a checkpoint. Give its folder: {}", asking_for(folder, use));
  }
  if (name == kTrackerName) return fmt::format("is a file. Give its folder: {}", asking_for(folder, use));
  const std::string program = program_of({name});
  return program.empty() ? "is a file, not a folder of checkpoints"
                         : "is a file of " + program + ". " + std::string(kOwnFormatOnly);
}

// One of our checkpoints, complete or not.
std::optional<std::string> own_checkpoint(const fs::path& folder, const Names& names, FolderUse use) {
  if (!has(names, kManifestName) && !has_prefix(names, "shard_")) return std::nullopt;
  if (use == FolderUse::inspect) return fmt::format("is one checkpoint without a {} that can be read", kManifestName);
  std::error_code ignored;
  fs::path whole = fs::absolute(folder, ignored).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  const std::string name = whole.filename().string();
  const std::string digits = name.starts_with("iter_") ? name.substr(5) : "";
  const std::size_t first = digits.find_first_not_of('0');
  return fmt::format("is one checkpoint. Give the folder above it: {}, with --ckpt-step {} for this one",
                     asking_for(whole.parent_path(), use), first == std::string::npos ? "N" : digits.substr(first));
}

}  // namespace

std::vector<std::string> folder_names(const fs::path& folder) {
  Names names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  if (error) throw IoError(fmt::format("cannot list folder {}: {}", folder.string(), error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> foreign_kind(const fs::path& path, FolderUse use) {
  if (!is_folder(path)) return file_text(path, use);
  const Names names = folder_names(path);
  if (auto own = own_checkpoint(path, names, use)) return own;
  if (const std::string program = program_of(names); !program.empty()) return foreign_text(program);
  for (const std::string& name : names) {
    if (!is_folder(path / name)) continue;
    if (name != "release" && !name.starts_with("iter_")) continue;
    if (const std::string program = program_of(folder_names(path / name)); !program.empty())
      return foreign_text(program);
  }
  if (has_prefix(names, "iter_")) return std::nullopt;  // damaged ones of ours, of which the finder says more
  for (const std::string& name : names) {
    if (name.starts_with(".") || !is_folder(path / name)) continue;
    if (has_prefix(folder_names(path / name), "iter_")) {
      return fmt::format("holds checkpoints one folder further down. Give that: {}", asking_for(path / name, use));
    }
  }
  if (has(names, kTrackerName)) {
    return fmt::format("holds {}, but not the checkpoint that it names", kTrackerName);
  }
  return std::nullopt;
}

}  // namespace ringtron
