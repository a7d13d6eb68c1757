// Internal to comm: whether the ranks of a group can copy from each other's GPUs, tried and agreed on.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <functional>
#include <memory>
#include <string>

#include "ringtron/comm/group.h"
#include "ringtron/comm/peer_copy/peer_copies.h"

namespace ringtron {

struct PeerCopiesSetup {
  std::unique_ptr<PeerCopies> copies;  // null on all ranks or on none
  std::string why_not;                 // the first rank's reason, the same on all
};

// All ranks call it, with a store of the group's own. Ranks of one machine whose GPUs have NVLink between them (where a
// process cannot see the other's GPU, nobody asks) make a channel and send a message each way through it; if one of
// them cannot, or it arrives wrong, no rank uses it. `check_peers` is called while this waits for others and ends the
// wait by an exception.
PeerCopiesSetup set_up_peer_copies(const Group& group, c10d::Store& store, const std::function<void()>& check_peers);

}  // namespace ringtron
