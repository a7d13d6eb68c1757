#include "ringtron/comm/communicator.h"

#include <ATen/ATen.h>

namespace ringtron {

bool uses_copy_engines(Communicator& group, at::Device device) {
  if (!device.is_cuda() || group.size() == 1) return false;
  if (group.exchanges_without_kernels()) return true;
  const at::Tensor number = at::zeros({1}, at::TensorOptions().device(device)), other = at::empty_like(number);
  const Send send{(group.rank() + 1) % group.size(), number};
  const Receive receive{(group.rank() + group.size() - 1) % group.size(), other};
  group.exchange({&send, 1}, {&receive, 1}).wait();
  return group.exchanges_without_kernels();
}

}  // namespace ringtron
