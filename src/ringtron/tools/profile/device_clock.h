// Times of points in the work of a device: of its current stream, without waiting for it, or of the host on a
// CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace ringtron {

class DeviceClock {
 public:
  explicit DeviceClock(at::Device device);
  ~DeviceClock();
  DeviceClock(const DeviceClock&) = delete;
  DeviceClock& operator=(const DeviceClock&) = delete;

  // Notes the point that the calling thread's current stream has reached when all that was queued before is
  // done.
  void mark();

  // How many marks the device has passed; waits for the first `at_least` of them.
  std::size_t passed(std::size_t at_least);

  // Seconds from the first mark to each. Waits for the device.
  std::vector<double> seconds();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringtron
