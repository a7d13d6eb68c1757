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
  if (is_open_ && takes_part_) torch::autograd::profiler::disableProfiler();
}

bool StepProfiler::acts_at(std::int64_t iteration) const {
  const LoggingConfig& config = job_.config()->logging;
  if (is_open_) return iteration >= config.profile_step_end;
  return config.profile && !is_done_ && iteration >= config.profile_step_start && iteration < config.profile_step_end;
}

void StepProfiler::at(std::int64_t iteration) {
  if (!acts_at(iteration)) return;
  if (is_open_)
    end(iteration);
  else
    begin(iteration);
}

void StepProfiler::stop(std::int64_t iteration) {
  if (is_open_ && iteration > first_) end(iteration);
}

std::string StepProfiler::warning(std::int64_t first, std::int64_t end) const {
  const LoggingConfig& config = job_.config()->logging;
  const std::int64_t begin = config.profile_step_start, past = config.profile_step_end;
  if (!config.profile || (first < past && begin < end)) return "";
  return fmt::format(
      "--profile shows nothing: its window, iterations {} to {}, is outside of this run's {} to {}. Set "
      "--profile-step-start and --profile-step-end",
      begin + 1, past, first + 1, end);
}

void StepProfiler::begin(std::int64_t iteration) {
  is_open_ = true;
  first_ = iteration;
  if (!takes_part_) return;
  synchronize(job_.device());
  const ProfilerConfig config(ProfilerState::KINETO);
  torch::autograd::profiler::prepareProfiler(config, activities(job_.device()));
  torch::autograd::profiler::enableProfiler(config, activities(job_.device()));
  began_ = SteadyClock::now();
}

void StepProfiler::end(std::int64_t iteration) {
  is_open_ = false;
  is_done_ = true;
  if (!takes_part_) return;
  synchronize(job_.device());
  const double wall = seconds_since(began_);
  const auto result = torch::autograd::profiler::disableProfiler();
  const auto events = events_of(*result, job_.device());
  const int steps = static_cast<int>(iteration - first_);
  std::string text = fmt::format("[Rank {}] profile of iterations {} to {}, on the {}", job_.rank(), first_ + 1,
                                 iteration, job_.device().is_cuda() ? "GPU" : "CPU");
  for (const std::string& line : profile_table(profile_of(events), steps, wall)) text += "\n" + line;
  print_line(text);  // together, whatever other ranks print
  const std::string& folder = job_.config()->logging.tensorboard_dir;
  if (!folder.empty()) save_trace(*result, folder);
}

void StepProfiler::save_trace(torch::autograd::profiler::ProfilerResult& result, const std::string& folder) const {
  const std::filesystem::path trace = std::filesystem::path(folder) / fmt::format("rank{}.pt.trace.json", job_.rank());
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::filesystem::remove(trace, ignored);
  result.save(trace.string());  // tells failures on stderr alone
  if (std::filesystem::is_regular_file(trace, ignored)) {
    print_line("[Rank {}] trace: {} (open it in Perfetto or chrome://tracing)", job_.rank(), trace.string());
    return;
  }
  std::filesystem::remove(trace.string() + ".tmp", ignored);
  warn_line("the trace of rank {} could not be written to {}: see above", job_.rank(), trace.string());
}

}  // namespace ringtron
