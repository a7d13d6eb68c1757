// A torch.distributed process group that somebody else made, as a Communicator: how the operators for PyTorch (ops/)
// communicate. The programs make their own groups, with liveness and copy engines (make_communicator.h).
#pragma once

#include <c10/core/DeviceType.h>
#include <c10/util/intrusive_ptr.h>

#include <memory>
#include <string>

#include "ringtron/comm/communicator.h"

namespace c10d {
class ProcessGroup;
}

namespace ringtron {

// For tensors of `device`; throws ConfigError when the group has no back end for these. The group is not kept alive:
// once it has been destroyed, operations throw CommError. Time-outs, streams and what happens when a rank dies are the
// back end's; its errors become CommErrors. Ranks of the group, for messages: those of its options where it tells them.
std::unique_ptr<Communicator> make_process_group_communicator(std::string name,
                                                              const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                                                              c10::DeviceType device);

}  // namespace ringtron
