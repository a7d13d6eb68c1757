#include "ringtron/launch/ignored_variables.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

namespace ringtron {
namespace {

struct Ignored {
  std::string_view name;  // where `also_torch`, with or without "TORCH_" before it
  bool also_torch;
  const char* instead;
};

constexpr const char* kTimeout =
    "an operation waits as long as --distributed-timeout-minutes says, 10 minutes by default";
constexpr const char* kEnds =
    "a rank that is lost, or later than --distributed-timeout-minutes, always ends the run with an error that names it";
constexpr const char* kReport =
    "when a run fails, ringrun's last lines say which rank failed and where the others waited for it";

constexpr std::array kIgnored = {
    Ignored{"NCCL_TIMEOUT", true, kTimeout},
    Ignored{"NCCL_TIMEOUT_MS", true, kTimeout},
    Ignored{"NCCL_COMM_TIMEOUT", true, kTimeout},
    Ignored{"TORCH_DISTRIBUTED_TIMEOUT", false, kTimeout},
    Ignored{"DIST_TIMEOUT", false, kTimeout},
    Ignored{"GLOO_TIMEOUT_SECONDS", true, kTimeout},
    Ignored{"NCCL_BLOCKING_WAIT", true, kEnds},
    Ignored{"NCCL_ASYNC_ERROR_HANDLING", true, kEnds},
    Ignored{"NCCL_ENABLE_MONITORING", true, kEnds},
    Ignored{"NCCL_HEARTBEAT_TIMEOUT_SEC", true, kEnds},
    Ignored{"NCCL_RETHROW_CUDA_ERRORS", true, kEnds},
    Ignored{"NCCL_PROPAGATE_ERROR", true, kEnds},
    Ignored{"NCCL_COORD_CHECK_MILSEC", true, kEnds},
    Ignored{"NCCL_WAIT_TIMEOUT_DUMP_MILSEC", true, kReport},
    Ignored{"NCCL_DESYNC_DEBUG", true, kReport},
    Ignored{"NCCL_DUMP_ON_TIMEOUT", true, kReport},
    Ignored{"NCCL_TRACE_BUFFER_SIZE", true, kReport},
    Ignored{"NCCL_DEBUG_INFO_TEMP_FILE", true, kReport},
    Ignored{"NCCL_DEBUG_INFO_PIPE_FILE", true, kReport},
    Ignored{"NCCL_ENABLE_TIMING", true, "--log-throughput and profile_cp measure"},
    Ignored{"NCCL_AVOID_RECORD_STREAMS", true,
            "memory of messages is always held until they have arrived, without recorded streams"},
    Ignored{"NCCL_HIGH_PRIORITY", true, "messages always have a stream of high priority"},
    Ignored{"NCCL_NAN_CHECK", true, "--check-for-nan-in-loss-and-grad looks at loss and gradients"},
};

bool is(std::string_view name, const Ignored& entry) {
  if (name == entry.name) return true;
  constexpr std::string_view kTorch = "TORCH_";
  return entry.also_torch && name.starts_with(kTorch) && name.substr(kTorch.size()) == entry.name;
}

}  // namespace

std::vector<std::string> ignored_variables(std::span<const std::string> names) {
  std::vector<std::string> lines;
  for (const std::string& name : std::set<std::string>(names.begin(), names.end())) {
    const auto* entry = std::ranges::find_if(kIgnored, [&](const Ignored& ignored) { return is(name, ignored); });
    if (entry != kIgnored.end()) {
      lines.push_back(fmt::format("environment variable {} has no effect: {}", name, entry->instead));
    } else if (name.starts_with("TORCH_NCCL_")) {
      lines.push_back(fmt::format("environment variable {} has no effect that Ringtron knows of: {}", name, kEnds));
    } else if (name.starts_with("NVTE_")) {
      lines.push_back(
          fmt::format("environment variable {} has no effect: it is TransformerEngine's; kernels follow from device "
                      "and type, --deterministic-mode and --cp-comm-type",
                      name));
    }
  }
  return lines;
}

std::vector<std::string> environment_names() {
  std::vector<std::string> names;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view entry = *at;
    names.emplace_back(entry.substr(0, entry.find('=')));
  }
  return names;
}

}  // namespace ringtron
