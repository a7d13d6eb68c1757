// What the launcher asks about the machine it runs on.
#pragma once

#include <filesystem>
#include <string>

#include "ringtron/launch/launch_environment.h"

namespace ringtron {

int usable_cores();                             // those this process may run on, as far as its control group lets it
int usable_gpus(const EnvironmentLookup& env);  // NVIDIA devices, CUDA_VISIBLE_DEVICES respected

// A TCP port that nobody listens on at this moment. Throws IoError.
int free_port();

// A name with a slash as it is; otherwise the executable of that name beside this program, then in PATH.
// ConfigError if there is none.
std::string find_program(const std::string& name, const EnvironmentLookup& env);

}  // namespace ringtron
