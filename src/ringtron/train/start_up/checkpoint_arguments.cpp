#include "ringtron/train/start_up/checkpoint_arguments.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/stored_config.h"
#include "ringtron/train/run_metadata.h"

namespace ringtron {

CheckpointArguments checkpoint_arguments(std::span<const std::string> words) {
  const ParsedFlags parsed = parse_flags(words);
  const CheckpointConfig& flags = parsed.line.config.checkpoint;
  if (parsed.help || !flags.use_checkpoint_args || flags.load.empty()) return {};
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
