#include "ringtron/comm/side_stream.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace ringtron {
namespace {

c10::Stream current_stream(at::Device device) { return c10::impl::VirtualGuardImpl(device.type()).getStream(device); }

}  // namespace

StreamMoment::StreamMoment(at::Device device) {
  if (device.is_cpu()) return;
  event_.emplace(device.type());
  event_->record(current_stream(device));
}

void StreamMoment::make_current_wait(at::Device device) {
  if (event_) event_->block(current_stream(device));
}

SideStream::SideStream(at::Device device) : device_(device) {
  if (device.is_cpu()) return;
  stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, /*isHighPriority=*/true);
}

SideStream::Use::Use(SideStream& side, StreamMoment after) {
  if (!side.stream_) return;
  guard_.emplace(*side.stream_);
  after.make_current_wait(side.device_);
}

}  // namespace ringtron
