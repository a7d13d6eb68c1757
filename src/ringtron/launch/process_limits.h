// How many processes a launcher can start here.
#pragma once

#include <filesystem>
#include <string>

namespace ringtron {

// Why `count` more processes, each with two pipes to this one, cannot run here: the limit that allows the fewest, with
// its name and how many it allows. Empty if they can, or nobody says. `root`: where /proc and /sys are, for tests.
std::string too_many_processes(int count, const std::filesystem::path& root = "/");

// Throws ConfigError with that reason.
void require_process_limits(int ranks);

}  // namespace ringtron
