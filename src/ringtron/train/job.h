// One process's place in a run: its rank, grid, groups and device, and what the run is: its configuration and
// tokenizer. Made once, first of all; outlives everything else.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "ringtron/comm/parallel_state.h"
#include "ringtron/comm/rendezvous/rendezvous.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/grid/process_grid.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/tokenizer/tokenizer.h"

namespace ringtron {

class Job {
 public:
  // `config` may have its defaults filled in or not. Meets the other ranks: throws CommError if they do not come, and
  // ConfigError, on all ranks, if one was started with other options. Then opens the tokenizer of the data flags and
  // resolves: throws ConfigError, on all ranks, if one cannot, has another vocabulary, or finds `config` invalid.
  // Collective.
  Job(const Config& config, LaunchEnvironment environment);

  // For processes that have met already: `environment` counts for rank and local rank only.
  Job(const Config& config, LaunchEnvironment environment, std::unique_ptr<Rendezvous> rendezvous);

  const ResolvedConfig& config() const { return *config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const LaunchEnvironment& environment() const { return environment_; }
  const ParallelState& parallel() const { return *parallel_; }
  const ProcessGrid& grid() const { return parallel_->grid(); }
  Communicator& world() const { return parallel_->world(); }
  at::Device device() const { return device_; }
  at::ScalarType compute_type() const;

  int rank() const { return environment_.rank; }
  bool is_first_rank() const { return rank() == 0; }
  bool is_last_rank() const { return rank() == environment_.world_size - 1; }  // prints the log, as in Megatron

 private:
  void open_tokenizer(const Config& given);

  LaunchEnvironment environment_;
  at::Device device_;
  std::unique_ptr<Rendezvous> rendezvous_;
  std::unique_ptr<ParallelState> parallel_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<ResolvedConfig> config_;
};

}  // namespace ringtron
