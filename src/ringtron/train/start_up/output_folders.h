// Where a run writes, and what it will read, looked at before any work begins: a folder that cannot be written, a disk
// that is too small or a file that is absent shows at the start and not after hours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ringtron/train/job.h"

namespace ringtron {

// Makes the folder and writes a file there, of which nothing stays. Throws IoError that names the flag.
void require_writable(const std::string& flag, const std::filesystem::path& folder);

// --tensorboard-dir on the rank that writes it: required. --data-cache-path on each machine: required if it is absent,
// and a warning if it is there and cannot be written, since indices may lie in it already. Collective; throws IoError
// on all ranks.
void require_output_folders(const Job& job);

// The files that the data flags name, looked for on every rank. Collective; throws ConfigError on all ranks.
void require_input_files(const Job& job);

struct SpaceNeeded {
  std::filesystem::path folder;
  std::uint64_t checkpoint_bytes = 0;  // one checkpoint of all ranks
  std::uint64_t own_bytes = 0;         // this rank's file of it
  std::int64_t saves = 0;              // that the run will make
  bool tells = true;                   // of the space; of its own file a rank tells always
};

// What a person should know before the first save; none if all is well.
std::vector<std::string> space_warnings(const SpaceNeeded& needed);

// What has the name of a checkpoint that the run may save, of an iteration in (`from`, `to`], and cannot be moved out
// of its way.
std::vector<std::string> name_warnings(const std::filesystem::path& folder, std::int64_t from, std::int64_t to);

}  // namespace ringtron
