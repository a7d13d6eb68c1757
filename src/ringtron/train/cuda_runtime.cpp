// The CUDA build's half of cuda_runtime.h.
#include "ringtron/train/cuda_runtime.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

constexpr const char* kConnections = "CUDA_DEVICE_MAX_CONNECTIONS";

// Megatron-LM demands CUDA_DEVICE_MAX_CONNECTIONS=1: one queue for all streams of a GPU, so that kernels start in the
// order in which the host gave them. Here order comes from events and priorities, and with one queue attention kernels
// that could run beside each other do not. The driver reads it when it starts. True if it was 1.
bool separate_stream_queues() {
  const char* set = std::getenv(kConnections);
  if (set == nullptr || std::string_view(set) != "1") return false;
  ::setenv(kConnections, "8", 1);
  return true;
}

}  // namespace

at::Device choose_device(std::optional<Backend> backend, int local_rank) {
  if (backend == Backend::gloo) return at::kCPU;
  const bool were_in_one_queue = separate_stream_queues();
  const int count = c10::cuda::device_count();
  if (count == 0) return at::kCPU;
  if (were_in_one_queue && local_rank == 0) {
    fmt::print(stderr, "{}=1: taken as 8, the driver's default; Ringtron does not need 1 and loses speed by it\n",
               kConnections);
  }
  if (local_rank >= count) {
    throw ConfigError(
        fmt::format("local rank {} has no GPU: this machine has {}. Start at most {} processes here, or "
                    "use --distributed-backend gloo to run on the CPU",
                    local_rank, count, count));
  }
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(local_rank));
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(local_rank));
}

void synchronize(at::Device device) {
  if (device.is_cuda()) c10::cuda::device_synchronize();
}

std::string device_name(at::Device device) {
  return device.is_cuda() ? at::cuda::getDeviceProperties(device.index())->name : "";
}

DeviceMemory device_memory(at::Device device) {
  if (!device.is_cuda()) return {};
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
  const auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[all].current, stats.allocated_bytes[all].peak, stats.reserved_bytes[all].current,
          stats.reserved_bytes[all].peak, stats.allocation[all].current};
}

std::int64_t free_device_memory(at::Device device) {
  if (!device.is_cuda()) return 0;
  std::size_t free = 0, total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? static_cast<std::int64_t>(free) : 0;
}

}  // namespace ringtron
