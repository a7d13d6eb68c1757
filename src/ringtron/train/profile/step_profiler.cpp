#include "ringtron/train/profile/step_profiler.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "ringtron/base/log.h"
#include "ringtron/train/cuda_runtime.h"
#include "ringtron/train/profile/step_profile.h"

namespace ringtron {
namespace {

using torch::profiler::impl::ActivityType;
using torch::profiler::impl::ProfilerConfig;
using torch::profiler::impl::ProfilerState;

std::set<ActivityType> activities(at::Device device) {
  std::set<ActivityType> all = {ActivityType::CPU};
  if (device.is_cuda()) all.insert(ActivityType::CUDA);
  return all;
}

// On a GPU what ran there, on a CPU the operations.
std::vector<ProfiledEvent> events_of(const torch::autograd::profiler::ProfilerResult& result, at::Device device) {
  std::vector<ProfiledEvent> events;
  for (const auto& e : result.events()) {
    if (e.deviceType() != device.type()) continue;
    // Marks that span other events: a collective's name on the timeline of its stream.
    if (device.is_cuda() && (e.name().starts_with("nccl:") || e.name().starts_with("gpu_user_annotation"))) continue;
    events.push_back({e.name(), static_cast<std::int64_t>(e.startNs()), static_cast<std::int64_t>(e.endNs()),
                      device.is_cuda() ? e.deviceResourceId() : static_cast<std::int64_t>(e.startThreadId())});
  }
  return events;
}

}  // namespace

StepProfiler::StepProfiler(const Job& job) : job_(job) {
  const LoggingConfig& config = job.config()->logging;
  const auto& ranks = config.profile_ranks;
  takes_part_ =
      config.profile && (ranks.empty() ? job.rank() == 0 : std::ranges::find(ranks, job.rank()) != ranks.end());
}

StepProfiler::~StepProfiler() {
  if (runs_) torch::autograd::profiler::disableProfiler();
}

void StepProfiler::at(std::int64_t iteration, bool training_is_over) {
  if (!takes_part_) return;
  const LoggingConfig& config = job_.config()->logging;
  if (runs_ && (iteration >= config.profile_step_end || training_is_over)) end(iteration);
  if (!runs_ && iteration == config.profile_step_start && iteration < config.profile_step_end && !training_is_over) {
    begin(iteration);
  }
}

void StepProfiler::begin(std::int64_t iteration) {
  synchronize(job_.device());
  const ProfilerConfig config(ProfilerState::KINETO);
  torch::autograd::profiler::prepareProfiler(config, activities(job_.device()));
  torch::autograd::profiler::enableProfiler(config, activities(job_.device()));
  runs_ = true;
  first_ = iteration;
  began_ = SteadyClock::now();
}

void StepProfiler::end(std::int64_t iteration) {
  synchronize(job_.device());
  const double wall = seconds_since(began_);
  const auto result = torch::autograd::profiler::disableProfiler();
  runs_ = false;
  const auto events = events_of(*result, job_.device());
  const int steps = static_cast<int>(iteration - first_);
  print_line("[Rank {}] profile of iterations {} to {}, on the {}", job_.rank(), first_ + 1, iteration,
             job_.device().is_cuda() ? "GPU" : "CPU");
  for (const std::string& line : profile_table(profile_of(events), steps, wall)) print_line(line);
  const std::string& folder = job_.config()->logging.tensorboard_dir;
  if (folder.empty()) return;
  const std::filesystem::path trace = std::filesystem::path(folder) / fmt::format("rank{}.pt.trace.json", job_.rank());
  result->save(trace.string());
  print_line("  trace: {} (open it in Perfetto or chrome://tracing)", trace.string());
}

}  // namespace ringtron
