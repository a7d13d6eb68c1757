// What the folder of --load asks for: a checkpoint to go on from, or a fresh start. Anything else is an error that says
// what is there and what to give: a run must not start from random weights beside checkpoints that it was meant to
// load.
#pragma once

#include <filesystem>
#include <optional>
#include <span>

#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/foreign_folder.h"

namespace ringtron {

// The search of the folder, with `newest` set. Nothing: the folder is absent or empty, and the run may start afresh;
// names that begin with a dot (what a crash within the very first save leaves), event files and the paths `own`, which
// the run itself writes, count as nothing. Throws IoError for everything else: all checkpoints damaged, another
// program's, one checkpoint instead of its folder, a file, other things, and what cannot be read; its advice is that of
// `use`.
std::optional<CheckpointSearch> search_load_folder(const std::filesystem::path& load_folder,
                                                   std::span<const std::filesystem::path> own,
                                                   FolderUse use = FolderUse::load);

}  // namespace ringtron
