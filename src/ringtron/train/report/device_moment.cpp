#include "ringtron/train/report/device_moment.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace ringtron {

DeviceMoment::DeviceMoment(at::Device device) : made_(SteadyClock::now()) {
  if (device.is_cpu()) return;
  event_.emplace(device.type(), c10::EventFlag::BACKEND_DEFAULT);  // the other kind keeps no time
  event_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}

bool DeviceMoment::has_come() const { return !event_ || event_->query(); }

void DeviceMoment::wait() const {
  if (event_) event_->synchronize();
}

double DeviceMoment::seconds_since(const DeviceMoment& earlier) const {
  earlier.wait();
  wait();
  if (event_ && earlier.event_) return earlier.event_->elapsedTime(*event_) * 1e-3;
  return std::chrono::duration<double>(made_ - earlier.made_).count();
}

// Into pinned memory where the device is a GPU: LibTorch does so for copies that the host does not wait for.
PendingNumbers::PendingNumbers(const std::vector<at::Tensor>& rows, at::Device device)
    : host_(rows.empty() ? at::empty({0, 0}, at::kDouble)
                         : at::stack(rows).to(at::kCPU, at::kDouble, /*non_blocking=*/true)),
      arrival_(device) {}

at::Tensor PendingNumbers::wait() const {
  arrival_.wait();
  return host_;
}

}  // namespace ringtron
