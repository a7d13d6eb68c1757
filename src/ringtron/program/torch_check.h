// The library works with the LibTorch that it was compiled with, and with no other: LibTorch promises no stable binary
// interface between versions.
#pragma once

#include <string>

namespace ringtron {

// "2.11.0": what the library was compiled with, and what this process has loaded (without what stands behind a "+").
std::string torch_built_with();
std::string torch_loaded();

// Throws ConfigError that names both where they differ.
void require_torch_version();

}  // namespace ringtron
