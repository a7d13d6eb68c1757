// What is said about checkpoints of several branches or runs in one folder.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/foreign_folder.h"

namespace ringtron {

// When the newest is taken: that the folder holds others beside its line. Empty if it does not.
std::string load_notice(const std::filesystem::path& load_folder, const CheckpointSearch& search, FolderUse use);

// When the newest is taken: that latest_checkpointed_iteration.txt names another one, to which Megatron-LM would go
// back, or one that is lost. Empty if it names the newest or one that is told as damaged, or is absent.
std::string tracker_notice(const std::filesystem::path& load_folder, const CheckpointSearch& search, FolderUse use);

// At the start of a run that will save: which checkpoints are there that are not on the run's `line`. Empty if there
// are none. An absent folder holds none.
std::string save_notice(const std::filesystem::path& save_folder, std::span<const Ancestor> line);

}  // namespace ringtron
