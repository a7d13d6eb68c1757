// Which checkpoints a folder holds, and which of them are complete.
//
// A checkpoint is complete if its manifest is intact and every file that it lists is there with its size.
// Nothing else counts: latest_checkpointed_iteration.txt is for people and may be missing, stale or garbage.
// Flipped bits inside shards are found when they are read (checkpoint_reader.h). Only reads; safe while
// another run saves there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "ringtron/checkpoint/manifest.h"

namespace ringtron {

struct CheckpointCandidate {
  std::int64_t iteration = 0;
  std::filesystem::path folder;
  std::string problem;  // why it is not complete, with the file; empty if it is
};

struct CheckpointSearch {
  std::optional<CheckpointCandidate> newest;  // the newest complete one
  std::vector<CheckpointCandidate> damaged;   // those that are newer, newest first
};

// The intact manifest of a complete checkpoint. Throws IoError that names the file at fault.
Manifest read_complete_manifest(const std::filesystem::path& checkpoint_folder);

// Nothing for a complete checkpoint, otherwise what is wrong and with which file.
std::optional<std::string> checkpoint_problem(const std::filesystem::path& checkpoint_folder);

// The iterations in the folder, complete or not, oldest first. A folder that is absent holds none.
std::vector<std::int64_t> list_iterations(const std::filesystem::path& load_folder);

// The newest complete checkpoint whose iteration is below `before`.
CheckpointSearch find_newest_checkpoint(const std::filesystem::path& load_folder,
                                        std::int64_t before = std::numeric_limits<std::int64_t>::max());

// The checkpoint of --ckpt-step. Throws ConfigError that lists the iterations there are if it is absent,
// IoError that names the damaged file and the previous complete checkpoint if it is not complete.
CheckpointCandidate find_checkpoint_of(const std::filesystem::path& load_folder, std::int64_t iteration);

// What to do about a damaged checkpoint: "the previous complete checkpoint is DIR; load it with --ckpt-step
// N", or that there is none.
std::string fallback_advice(const std::filesystem::path& load_folder, std::int64_t damaged_iteration);

}  // namespace ringtron
