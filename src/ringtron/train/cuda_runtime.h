// The few things that the training loop asks of the CUDA runtime; without CUDA they do nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "ringtron/choices/choices.h"

namespace ringtron {

// The GPU of this local rank, made current, where this program and machine have one; else the CPU. gloo keeps
// the run on the CPU. Throws ConfigError when there are fewer GPUs than local ranks.
at::Device choose_device(std::optional<Backend> backend, int local_rank);

// Waits until the device has done all that was asked of it. Nothing on a CPU.
void synchronize(at::Device device);

// "NVIDIA H200"; empty on a CPU.
std::string device_name(at::Device device);

struct DeviceMemory {
  std::int64_t allocated = 0, max_allocated = 0, reserved = 0, max_reserved = 0;  // bytes
  std::int64_t allocations = 0;
};
DeviceMemory device_memory(at::Device device);  // all 0 on a CPU

// Bytes of the GPU that no process has taken; 0 on a CPU.
std::int64_t free_device_memory(at::Device device);

}  // namespace ringtron
