// What every module needs to be made besides its options: the groups it will communicate in, where its
// parameters go.
#pragma once

#include "ringtron/comm/parallel_state.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/parameter/parameter_store.h"

namespace ringtron {

// All references outlive the modules made from it.
struct BuildContext {
  const ParallelState& parallel;
  ParameterStore& store;
  CpAttention& attention;  // shared by the layers: one sequence layout, one group

  Communicator& tensor_group() const { return parallel.tensor(); }
};

}  // namespace ringtron
