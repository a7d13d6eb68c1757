// A list of plain structs on a device, for kernels whose arguments have no room for it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace ringtron {

// Bytes [list]; the host does not wait for the device. The memory is the caller's until the last kernel that reads it
// is on LibTorch's current stream.
template <class S>
at::Tensor device_table(const std::vector<S>& list, const at::Device& device) {
  static_assert(std::is_trivially_copyable_v<S>);
  const at::Tensor bytes = at::empty({static_cast<std::int64_t>(list.size() * sizeof(S))}, at::kByte);
  if (!list.empty()) std::memcpy(bytes.mutable_data_ptr(), list.data(), list.size() * sizeof(S));
  // From memory that is not pinned: CUDA has read it when the call returns.
  return bytes.to(device, at::kByte, /*non_blocking=*/true, /*copy=*/false);
}

}  // namespace ringtron
