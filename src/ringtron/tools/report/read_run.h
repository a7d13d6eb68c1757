// The log of a run, found and read.
#pragma once

#include <filesystem>

#include "ringtron/tools/report/run_log.h"

namespace ringtron {

// `path`: a file, of --log-jsonl or of what a run printed, Ringtron's or Megatron-LM's; or a folder that holds some,
// itself or one below (checkpoints are not looked into). In a folder lines of JSON count before printed ones; several
// files are read one after the other, in the order of their first log lines. Throws IoError where nothing can be read,
// ConfigError where no log line is among what was read.
RunLog read_run(const std::filesystem::path& path);

}  // namespace ringtron
