// Whether a tool may write where it is told to: asked before any work.
#pragma once

#include <string>
#include <vector>

#include "ringtron/tools/input_files.h"

namespace ringtron {

// Makes the folder that `path` lies in. Throws ConfigError, which names the flag, if it cannot be made or is not a
// folder.
void make_parent_folder(const char* flag, const std::string& path);

// Throws ConfigError if `output` is one of `inputs`, under whatever name.
void refuse_input(const std::string& output, const std::vector<InputFile>& inputs);

}  // namespace ringtron
