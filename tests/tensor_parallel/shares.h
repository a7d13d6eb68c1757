// How the tests of tensor-parallel layers divide a tensor that one process would hold.
#pragma once

#include <ATen/ATen.h>

#include "ringtron/comm/communicator.h"

namespace ringtron::testing {

// fp64: the layers' sums and one process's differ only in the order of at most a few dozen additions.
inline constexpr double kOtherOrder = 1e-12;

// The share of `whole` along `dim` that rank `rank` of a group of `size` holds.
inline at::Tensor share_of(const at::Tensor& whole, std::int64_t dim, int rank, int size) {
  const std::int64_t length = whole.size(dim) / size;
  return whole.detach().narrow(dim, length * rank, length).contiguous();
}

inline at::Tensor share(const at::Tensor& whole, std::int64_t dim, const Communicator& group) {
  return share_of(whole, dim, group.rank(), group.size());
}

// What the next rank should hold: for negative controls.
inline at::Tensor foreign_share(const at::Tensor& whole, std::int64_t dim, const Communicator& group) {
  return share_of(whole, dim, (group.rank() + 1) % group.size(), group.size());
}

inline at::Tensor leaf(const at::Tensor& value) { return value.detach().clone().requires_grad_(); }

}  // namespace ringtron::testing
