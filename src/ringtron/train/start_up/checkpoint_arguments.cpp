#include "ringtron/train/start_up/checkpoint_arguments.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/config/option.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/stored_config.h"
#include "ringtron/hugging_face/hf_folder.h"
#include "ringtron/train/run_metadata.h"

namespace ringtron {

namespace {

// "--num-layers 32 --swiglu ...": what the model has other than by default.
std::string flags_text(const Config& config) {
  std::string text;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      const std::string value = option_value(option, config);
      if (value == option_value(option, Config{})) continue;
      text += fmt::format(" {}", option.name);
      if (option_arity(option) != Arity::none) text += " " + value;
    }
  }
  return text.empty() ? text : text.substr(1);
}

// The flags that config.json gives; they are taken without being asked for, since there is no other place for them.
CheckpointArguments hugging_face_arguments(const CheckpointConfig& flags) {
  if (!flags.finetune) {
    throw ConfigError(fmt::format(
        "--load {} is a model of Hugging Face, which has no iteration and no optimizer state. Add --finetune to begin "
        "with its weights",
        flags.load));
  }
  const HfModel model = read_hf_config(flags.load);
  Config defaults = with_model_of(stored_config_of(model), {});
  defaults.precision.hidden_dropout = model.config.precision.hidden_dropout;
  defaults.precision.attention_dropout = model.config.precision.attention_dropout;
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::path(flags.load) / "tokenizer.json", ignored)) {
    defaults.data.tokenizer_type = TokenizerType::hugging_face;
    defaults.data.tokenizer_model = flags.load;
  }
  return {defaults, fmt::format("--load {}: a {} model of Hugging Face. Its config.json gives, where the command line "
                                "does not: {}",
                                flags.load, model_type_of(model.family), flags_text(defaults))};
}

}  // namespace

CheckpointArguments checkpoint_arguments(std::span<const std::string> words) {
  const ParsedFlags parsed = parse_flags(words);
  const CheckpointConfig& flags = parsed.line.config.checkpoint;
  if (parsed.help || flags.load.empty()) return {};
  if (is_hf_folder(flags.load)) return hugging_face_arguments(flags);
  if (!flags.use_checkpoint_args) return {};
  const std::filesystem::path folder = flags.load;
  std::error_code ignored;
  std::optional<CheckpointCandidate> found;
  if (std::filesystem::is_directory(folder, ignored)) {
    found = flags.ckpt_step > 0 && !list_iterations(folder).empty() ? find_checkpoint_of(folder, flags.ckpt_step)
                                                                    : find_newest_checkpoint(folder).newest;
  }
  if (!found) {
    throw IoError(
        fmt::format("--use-checkpoint-args: expected a complete checkpoint in --load {}, there is none. Give the "
                    "folder of --save of the run that made one, or the model's flags",
                    folder.string()));
  }
  RunMetadata metadata = read_run_metadata(read_complete_manifest(found->folder));
  return {with_model_of(std::move(metadata.configuration), {}),
          fmt::format("--use-checkpoint-args: the model's flags are those of {}, where the command line gives none",
                      found->folder.string())};
}

}  // namespace ringtron
