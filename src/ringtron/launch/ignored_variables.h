// Environment variables that users of other frameworks set and that have no effect here: each gets a line that says
// what governs instead. Variables that NCCL itself reads (NCCL_DEBUG, NCCL_IB_HCA, NCCL_SOCKET_IFNAME, ...) do have an
// effect and get none.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace ringtron {

// A line for each of `names` that has no effect, in alphabetical order.
std::vector<std::string> ignored_variables(std::span<const std::string> names);

// The names of this process's own environment.
std::vector<std::string> environment_names();

}  // namespace ringtron
