// The CPU build's half of cuda_runtime.h.
#include <ATen/ATen.h>

#include "ringtron/train/cuda_runtime.h"

namespace ringtron {

at::Device choose_device(std::optional<Backend>, int) { return at::kCPU; }
void synchronize(at::Device) {}
std::string device_name(at::Device) { return ""; }
DeviceMemory device_memory(at::Device) { return {}; }
std::int64_t free_device_memory(at::Device) { return 0; }

}  // namespace ringtron
