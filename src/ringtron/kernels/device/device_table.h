// Lists on a device, of plain structs for kernels whose arguments have no room for them, and of indices. The host does
// not wait for the device, or it could never run ahead of it: CUDA has read memory that is not pinned when the call
// returns.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace ringtron {

// Bytes [list]. The memory is the caller's until the last kernel that reads it
// is on LibTorch's current stream.
template <class S>
at::Tensor device_table(const std::vector<S>& list, const at::Device& device) {
  static_assert(std::is_trivially_copyable_v<S>);
  const at::Tensor bytes = at::empty({static_cast<std::int64_t>(list.size() * sizeof(S))}, at::kByte);
  if (!list.empty()) std::memcpy(bytes.mutable_data_ptr(), list.data(), list.size() * sizeof(S));
  return bytes.to(device, at::kByte, /*non_blocking=*/true, /*copy=*/false);
}

// int64 [numbers], for index_select() and its kin.
inline at::Tensor index_table(const std::vector<std::int64_t>& numbers, const at::Device& device) {
  return at::tensor(numbers, at::kLong).to(device, at::kLong, /*non_blocking=*/true);
}

}  // namespace ringtron
