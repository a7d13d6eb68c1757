// Where the device is in its work, and numbers that it works out, for a host that runs ahead of it.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <optional>
#include <vector>

#include "ringtron/base/clock.h"

namespace ringtron {

// The moment at which the device has done all that its current stream was asked for when this was made. On a CPU: now.
class DeviceMoment {
 public:
  explicit DeviceMoment(at::Device device);
  bool has_come() const;
  void wait() const;
  // Waits for both.
  double seconds_since(const DeviceMoment& earlier) const;

 private:
  SteadyClock::time_point made_;
  std::optional<c10::Event> event_;  // on a GPU
};

// Numbers on their way from the device to the host.
class PendingNumbers {
 public:
  // One row for each step, or none: tensors of equal size, fp64, on `device`.
  PendingNumbers(const std::vector<at::Tensor>& rows, at::Device device);
  const DeviceMoment& arrival() const { return arrival_; }
  DeviceMoment& arrival() { return arrival_; }
  // [rows, numbers] on the CPU; waits for the arrival. Without rows [0, 0].
  at::Tensor wait() const;

 private:
  at::Tensor host_;
  DeviceMoment arrival_;
};

}  // namespace ringtron
