// The list of groups and their order.
#include "ringtron/comm/parallel_state.h"

#include <fmt/format.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

const ProcessGrid& checked(const ProcessGrid& grid, const Rendezvous& rendezvous) {
  if (grid.world_size() == rendezvous.world_size()) return grid;
  throw ConfigError(fmt::format(
      "parallel state: expected {} processes (tensor {} x context {} x pipeline {} x data {}), got {}; start "
      "that many "
      "or change the sizes [rank {}]",
      grid.world_size(), grid.size(Axis::tensor), grid.size(Axis::context), grid.size(Axis::pipeline),
      grid.size(Axis::data), rendezvous.world_size(), rendezvous.rank()));
}

}  // namespace

ParallelState::ParallelState(const ProcessGrid& grid, Backend backend, const Rendezvous& rendezvous)
    : grid_(checked(grid, rendezvous)),
      rank_(rendezvous.rank()),
      data_context_(make(backend, "data-context-parallel", Axis::data | Axis::context, rendezvous)),
      data_(make(backend, "data-parallel", Axis::data, rendezvous)),
      context_(make(backend, "context-parallel", Axis::context, rendezvous)),
      model_(make(backend, "model-parallel", Axis::tensor | Axis::pipeline, rendezvous)),
      tensor_(make(backend, "tensor-parallel", Axis::tensor, rendezvous)),
      tensor_context_(make(backend, "tensor-context-parallel", Axis::tensor | Axis::context, rendezvous)),
      world_(make(Backend::gloo, "world", Axis::tensor | Axis::context | Axis::data | Axis::pipeline, rendezvous)) {}

std::unique_ptr<Communicator> ParallelState::make(Backend backend, const char* name, AxisSet axes,
                                                  const Rendezvous& rendezvous) {
  return make_communicator(backend, name, grid_.group_of(rank_, axes), rendezvous);
}

}  // namespace ringtron
