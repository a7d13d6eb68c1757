// The groups that have a name, and their order.
#include "ringtron/comm/parallel_state.h"

#include <fmt/format.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

struct NamedGroup {
  AxisSet axes;
  const char* name;
};

// In the order in which they are connected, which is Megatron's.
constexpr NamedGroup kNamedGroups[] = {
    {kDataContextAxes, "data-context-parallel"}, {Axis::data, "data-parallel"},
    {Axis::context, "context-parallel"},         {Axis::tensor | Axis::pipeline, "model-parallel"},
    {Axis::tensor, "tensor-parallel"},           {Axis::tensor | Axis::context, "tensor-context-parallel"},
};

std::string name_of(AxisSet axes) {
  for (const NamedGroup& group : kNamedGroups) {
    if (group.axes == axes) return group.name;
  }
  return to_string(axes);
}

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
    : grid_(checked(grid, rendezvous)), rank_(rendezvous.rank()), backend_(backend), rendezvous_(rendezvous) {
  for (const NamedGroup& named : kNamedGroups) group(named.axes);
  world_ =
      make_communicator(Backend::gloo, "world",
                        grid_.group_of(rank_, Axis::tensor | Axis::context | Axis::data | Axis::pipeline), rendezvous);
}

Communicator& ParallelState::group(AxisSet axes) const {
  std::unique_ptr<Communicator>& made = groups_[axes.index()];
  if (!made) made = make_communicator(backend_, name_of(axes), grid_.group_of(rank_, axes), rendezvous_);
  return *made;
}

std::unique_ptr<Communicator> ParallelState::make_group(const std::string& name,
                                                        const std::vector<int>& members) const {
  return make_communicator(backend_, name, members, rendezvous_);
}

}  // namespace ringtron
