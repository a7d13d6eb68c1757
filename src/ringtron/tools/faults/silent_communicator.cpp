#include "ringtron/tools/faults/silent_communicator.h"

#include <ATen/ATen.h>

namespace ringtron {

Work SilentCommunicator::exchange(std::span<const Send>, std::span<const Receive> receives) {
  for (const Receive& receive : receives) at::Tensor(receive.tensor).zero_();
  return {};
}

}  // namespace ringtron
