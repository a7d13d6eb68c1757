#include "ringtron/tools/profile/device_clock.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "ringtron/base/clock.h"
#include "ringtron/train/cuda_runtime.h"

namespace ringtron {

struct DeviceClock::Impl {
  at::Device device;
  std::vector<SteadyClock::time_point> times;  // on a CPU
  std::vector<c10::Event> events;              // elsewhere
  std::size_t passed = 0;                      // of events
};

DeviceClock::DeviceClock(at::Device device) : impl_(new Impl{device, {}, {}, 0}) {}
DeviceClock::~DeviceClock() = default;

void DeviceClock::mark() {
  if (impl_->device.is_cpu()) {
    impl_->times.push_back(SteadyClock::now());
    return;
  }
  // BACKEND_DEFAULT is the flag with which an event has a time.
  c10::Event& event = impl_->events.emplace_back(impl_->device.type(), c10::EventFlag::BACKEND_DEFAULT);
  event.record(c10::impl::VirtualGuardImpl(impl_->device.type()).getStream(impl_->device));
}

std::size_t DeviceClock::passed(std::size_t at_least) {
  if (impl_->device.is_cpu()) return impl_->times.size();
  const std::vector<c10::Event>& events = impl_->events;
  if (at_least > impl_->passed) events.at(at_least - 1).synchronize();
  while (impl_->passed < events.size() && events[impl_->passed].query()) ++impl_->passed;
  return impl_->passed;
}

std::vector<double> DeviceClock::seconds() {
  std::vector<double> seconds;
  if (impl_->device.is_cpu()) {
    for (const auto& time : impl_->times)
      seconds.push_back(std::chrono::duration<double>(time - impl_->times.front()).count());
    return seconds;
  }
  synchronize(impl_->device);
  for (const c10::Event& event : impl_->events) seconds.push_back(1e-3 * impl_->events.front().elapsedTime(event));
  return seconds;
}

}  // namespace ringtron
