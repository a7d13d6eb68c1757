// The one place that chooses a back end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ringtron/choices/choices.h"
#include "ringtron/comm/communicator.h"
#include "ringtron/comm/rendezvous/rendezvous.h"

namespace ringtron {

// The group of global ranks `members` (group order), of which this process is one. All members call this with
// the same arguments, and a process that is in several groups makes them in the same order as its peers. A
// group of one is a LocalCommunicator. Throws CommError when a member does not come within the rendezvous'
// timeout, and ConfigError where this program lacks the back end. nccl: uses this thread's current CUDA
// device.
std::unique_ptr<Communicator> make_communicator(Backend backend, const std::string& name,
                                                const std::vector<int>& members, const Rendezvous& rendezvous);

}  // namespace ringtron
