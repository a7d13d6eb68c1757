// Which checkpoints a folder holds, which of them are complete, and which one a run goes on from.
//
// A checkpoint is complete if its manifest is intact and every file that it lists is there with its size.
// Flipped bits inside shards are found when they are read (checkpoint_reader.h). A run goes on from the checkpoint
// that was saved last, by the number in its lineage, not from the one of the largest iteration: after going back,
// the larger ones belong to the branch that was left. latest_checkpointed_iteration.txt may be missing, stale or
// garbage; it counts only as a hint at a manifest that cannot be read (load_folder.h).
//
// Damage is one thing, a folder or disk that cannot be read another: of the latter all functions throw IoError, since
// nobody knows what is there. Only reads; safe while another run saves there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ringtron/checkpoint/lineage.h"
#include "ringtron/checkpoint/manifest.h"

namespace ringtron {

struct CheckpointCandidate {
  std::int64_t iteration = 0;
  std::filesystem::path folder;
  std::string problem;             // why it is not complete, with the file; empty if it is
  std::optional<Lineage> lineage;  // nothing if the manifest cannot be understood
};

struct CheckpointSearch {
  std::optional<CheckpointCandidate> newest;  // the complete one that was saved last
  std::vector<CheckpointCandidate> damaged;   // passed over to get there, the latest first
  std::vector<CheckpointCandidate>
      unplaced;                             // of a smaller iteration, damaged so that nobody knows when they were saved
  std::vector<CheckpointCandidate> others;  // those that are not on its line: of another branch or run, by iteration
};

// The intact manifest of a complete checkpoint. Throws CheckpointDamage that names the file at fault; IoError if one
// cannot be read.
Manifest read_complete_manifest(const std::filesystem::path& checkpoint_folder);

// Nothing for a complete checkpoint, otherwise what is wrong and with which file.
std::optional<std::string> checkpoint_problem(const std::filesystem::path& checkpoint_folder);

// The iterations in the folder, complete or not, oldest first. A folder that is absent holds none.
std::vector<std::int64_t> list_iterations(const std::filesystem::path& load_folder);

// All of them, examined, by iteration.
std::vector<CheckpointCandidate> list_checkpoints(const std::filesystem::path& load_folder);

// The complete checkpoint that was saved last. If the last one is damaged, the one before it on its line; of another
// line none is taken.
CheckpointSearch find_newest_checkpoint(const std::filesystem::path& load_folder);

// The checkpoint of --ckpt-step. Throws ConfigError that lists the iterations there are if it is absent,
// IoError that names the damaged file and the previous complete checkpoint if it is not complete.
CheckpointCandidate find_checkpoint_of(const std::filesystem::path& load_folder, std::int64_t iteration);

// What to do about a damaged checkpoint: "the previous complete checkpoint is DIR; load it with --ckpt-step
// N", or that there is none.
std::string fallback_advice(const std::filesystem::path& load_folder, std::int64_t damaged_iteration);

// One more than the largest number of saving in the folder.
std::int64_t next_save_number(const std::filesystem::path& save_folder);

}  // namespace ringtron
