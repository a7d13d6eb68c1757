#include "ringtron/program/torch_check.h"

#include <caffe2/core/common.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <cstdio>
#include <cstdlib>

#include "ringtron/base/error.h"

namespace ringtron {

std::string torch_built_with() { return TORCH_VERSION; }

std::string torch_loaded() {
  const auto& options = caffe2::GetBuildOptions();
  const auto found = options.find("TORCH_VERSION");
  return found == options.end() ? "an unknown version" : found->second;
}

void require_torch_version() {
  if (torch_loaded() == torch_built_with()) return;
  throw ConfigError(
      fmt::format("this Ringtron was built with LibTorch {}, but LibTorch {} is loaded. Install torch=={}, or build "
                  "Ringtron with the other one; ringtron-use-torch tells an installed Ringtron where torch is, and "
                  "LD_LIBRARY_PATH overrides it",
                  torch_built_with(), torch_loaded(), torch_built_with()));
}

namespace {

// Before main(), so that nothing of another LibTorch is called: also in a program that has a main() of its own. Linked
// into every program by the symbol below.
[[gnu::constructor]] void check_when_loaded() {
  try {
    require_torch_version();
  } catch (const ConfigError& error) {
    std::fprintf(stderr, "ringtron: %s\n", error.what());
    std::_Exit(kExitUsage);
  }
}

}  // namespace

extern "C" const int ringtron_torch_check = 1;

}  // namespace ringtron
