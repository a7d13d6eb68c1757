// Internal to comm: the makers of the back ends.
#pragma once

#include <memory>
#include <string>

#include "ringtron/comm/group.h"
#include "ringtron/comm/rendezvous/rendezvous.h"

namespace ringtron {

// `key` is the group's own place in the store. Both throw CommError if a member does not come.
std::unique_ptr<Communicator> make_gloo_communicator(Group group, const std::string& key, const Rendezvous& rendezvous);

// Throws ConfigError in a program built without CUDA.
std::unique_ptr<Communicator> make_nccl_communicator(Group group, const std::string& key, const Rendezvous& rendezvous);

}  // namespace ringtron
