#include "ringtron/train/job.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/config_text.h"
#include "ringtron/launch/ignored_variables.h"
#include "ringtron/models/process_grid_of.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/cuda_runtime.h"
#include "ringtron/train/data_config.h"
#include "ringtron/train/rank_threads.h"
#include "ringtron/train/start_up/before_rendezvous.h"

namespace ringtron {
namespace {

Backend choose_backend(const Config& config, at::Device device) {
  return config.parallel.distributed_backend.value_or(device.is_cuda() ? Backend::nccl : Backend::gloo);
}

RendezvousOptions rendezvous_options(const Config& config, const LaunchEnvironment& environment) {
  RendezvousOptions options = rendezvous_options(environment);
  options.peer_copies = config.parallel.peer_copies;
  options.timeout =
      std::chrono::milliseconds(static_cast<std::int64_t>(config.parallel.distributed_timeout_minutes * 60'000.0));
  return options;
}

// Rank 0 says what the user may not expect of the environment.
void announce_environment(const LaunchEnvironment& environment) {
  if (environment.rank != 0) return;
  for (const std::string& line : ignored_variables(environment_names())) warn_line(line);
  if (!environment.hint.empty()) warn_line(environment.hint);
}

std::unique_ptr<Rendezvous> meet(const Config& config, const LaunchEnvironment& environment) {
  try {
    return std::make_unique<Rendezvous>(rendezvous_options(config, environment));
  } catch (const CommError& error) {
    if (environment.hint.empty()) throw;
    throw CommError(fmt::format("{}. {}", error.what(), environment.hint));
  }
}

}  // namespace

Job::Job(const Config& config, LaunchEnvironment environment) : Job(config, std::move(environment), nullptr) {}

Job::Job(const Config& config, LaunchEnvironment environment, std::unique_ptr<Rendezvous> rendezvous)
    : environment_(std::move(environment)), device_(at::kCPU), rendezvous_(std::move(rendezvous)) {
  // What one rank alone can find wrong comes before it meets the others.
  std::optional<ProcessGrid> grid;
  const auto look = [&] {
    grid.emplace(process_grid_of(config.parallel, environment_.world_size));
    device_ = choose_device(config.parallel.distributed_backend, environment_.local_rank);
  };
  if (rendezvous_) {
    look();
  } else {
    before_rendezvous(environment_, look);
    announce_environment(environment_);
    rendezvous_ = meet(config, environment_);
  }
  parallel_ = std::make_unique<ParallelState>(*grid, choose_backend(config, device_), *rendezvous_);
  require_same_options(world(), fingerprint_text(config));
  share_cores(world());
  open_tokenizer(config);
}

void Job::open_tokenizer(const Config& given) {
  run_collectively(world(), [&] {
    tokenizer_ = tokenizer_of(given.data);
    config_ = resolve(given, environment_.world_size, tokenizer_->vocab_size()).valid();
  });
  // Files of the same name may have other content on another machine.
  require_same_facts(world(), fmt::format("vocabulary={}\n", tokenizer_->description()),
                     "the ranks read different vocabularies. Give all machines the same files of the tokenizer "
                     "(--vocab-file, --merge-file).");
}

at::ScalarType Job::compute_type() const {
  if ((*config_)->precision.fp64) return at::kDouble;
  if ((*config_)->precision.fp16) return at::kHalf;
  return (*config_)->precision.bf16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace ringtron
