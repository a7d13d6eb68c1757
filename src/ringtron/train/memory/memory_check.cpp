#include "ringtron/train/memory/memory_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/machine_memory.h"
#include "ringtron/base/text.h"
#include "ringtron/models/memory_estimate.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/cuda_runtime.h"

namespace ringtron {
namespace {

std::string amount(std::int64_t bytes) { return human_bytes(static_cast<std::uint64_t>(bytes)); }

// The estimate counts tensors only, so a step needs more. So many times what is there does not come free while it runs.
constexpr std::int64_t kHopeless = 2;

// Whatever needs a twentieth less than what did not fit may fit.
constexpr std::int64_t kWorthTelling = 20;

std::string place_of(const Job& job, std::int64_t available) {
  if (job.device().is_cuda()) return fmt::format("{} are free on the {}", amount(available), device_name(job.device()));
  const int ranks = std::max(1, job.environment().local_world_size);
  return ranks == 1 ? fmt::format("{} are free on this machine", amount(available))
                    : fmt::format("{} are free for each of {} ranks on this machine", amount(available), ranks);
}

}  // namespace

std::optional<std::int64_t> memory_of_rank(at::Device device, int ranks_here) {
  if (device.is_cuda()) {
    const std::int64_t free = free_device_memory(device);
    return free > 0 ? std::optional(free) : std::nullopt;
  }
  const std::optional<std::int64_t> machine = memory_available();
  if (!machine) return std::nullopt;
  return *machine / std::max(1, ranks_here);
}

void require_memory(const Job& job) {
  const ResolvedConfig& config = job.config();
  std::string warning;
  run_collectively(job.world(), [&] {
    const std::optional<std::int64_t> available = memory_of_rank(job.device(), job.environment().local_world_size);
    if (!available) return;
    const MemoryEstimate need = estimate_memory(config);
    const std::int64_t peak =
        need.state.sum() + (config->batch.skip_train ? need.activations.evaluation : need.activations.peak());
    if (peak <= *available) return;
    const std::string place = place_of(job, *available);
    if (need.state.sum() > *available || peak / kHopeless > *available) {
      throw ConfigError(fmt::format(
          "too large for this machine: each rank needs {} for its part of the model, and about {} in all ({}); "
          "{}. Flags that help: {}",
          amount(need.state.sum()), amount(need.peak()), to_string(need), place, memory_advice(config, *available)));
    }
    warning = fmt::format("rank {} may run out of memory: a {} needs about {} ({}); {}. Flags that help: {}",
                          job.rank(), evaluation_note(config, need).empty() ? "step" : "evaluation",
                          amount(need.peak()), to_string(need), place, memory_advice(config, *available));
  });
  const std::vector<std::string> warnings = gather_texts(job.world(), warning);
  const auto first = std::ranges::find_if(warnings, [](const std::string& text) { return !text.empty(); });
  if (job.is_first_rank() && first != warnings.end()) warn_line(*first);
}

void require_bytes(const Job& job, std::int64_t bytes, const std::string& what) {
  run_collectively(job.world(), [&] {
    const std::optional<std::int64_t> available = memory_of_rank(job.device(), job.environment().local_world_size);
    if (!available || bytes <= *available) return;
    throw ConfigError(
        fmt::format("too large for this machine: {} takes {}; {}. Take a shorter --seq-length, a smaller "
                    "--micro-batch-size or --hidden-size, or more ranks",
                    what, amount(bytes), place_of(job, *available)));
  });
}

std::string memory_breakdown(const Job& job) {
  const ResolvedConfig& config = job.config();
  const MemoryEstimate need = estimate_memory(config);
  const DeviceMemory used = device_memory(job.device());
  const std::string in_use = job.device().is_cuda() ? fmt::format("; in use {}, at most so far {}",
                                                                  amount(used.allocated), amount(used.max_allocated))
                                                    : std::string();
  return fmt::format("Rank {} holds by estimate {} at the peak: {}{}. Flags that help: {}", job.rank(),
                     amount(need.peak()), to_string(need), in_use,
                     memory_advice(config, need.peak() - need.peak() / kWorthTelling));
}

}  // namespace ringtron
