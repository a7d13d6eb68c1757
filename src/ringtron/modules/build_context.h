// What every layer needs to be made: the configuration, the groups it will communicate in, where its parameters go.
#pragma once

#include <span>

#include "ringtron/comm/parallel_state.h"
#include "ringtron/config/config.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/parameter/parameter_store.h"

namespace ringtron {

// All references outlive the layers made from it. `config` is resolved (config/validate.h).
struct BuildContext {
  const Config& config;
  const ParallelState& parallel;
  ParameterStore& store;
  std::int64_t vocab_size;  // without padding
  CpAttention& attention;  // shared by the layers: one sequence layout, one group
  std::span<const CpTransport> transports = {};  // of each layer; empty: p2p in all

  Communicator& tensor_group() const { return parallel.tensor(); }
  // Of a weight matrix: N(0, std), or --init-method-xavier-uniform, which replaces both standard deviations.
  Initial weight_initial(double std) const {
    return config.precision.init_method_xavier_uniform ? Initial{Initial::Kind::xavier_uniform} : Initial::normal(std);
  }
  bool sequence_parallel() const { return config.parallel.sequence_parallel; }
};

}  // namespace ringtron
