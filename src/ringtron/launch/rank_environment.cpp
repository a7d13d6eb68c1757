// Which rank it is: torchrun's variables.
#include "ringtron/launch/supervisor.h"

namespace ringtron {

EnvironmentChanges rank_environment(const SupervisorOptions& options, int local) {
  EnvironmentChanges changes = options.environment;
  changes.insert(changes.end(), {{"RANK", std::to_string(options.node_rank * options.ranks_per_node + local)},
                                 {"WORLD_SIZE", std::to_string(options.nodes * options.ranks_per_node)},
                                 {"LOCAL_RANK", std::to_string(local)},
                                 {"LOCAL_WORLD_SIZE", std::to_string(options.ranks_per_node)},
                                 {"GROUP_RANK", std::to_string(options.node_rank)},
                                 {"MASTER_ADDR", options.master_addr},
                                 {"MASTER_PORT", std::to_string(options.master_port)}});
  return changes;
}

}  // namespace ringtron
