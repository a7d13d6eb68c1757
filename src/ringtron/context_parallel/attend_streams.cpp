#include "ringtron/context_parallel/attend_streams.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>

namespace ringtron::internal {
namespace {

std::array<c10::Stream, 2> streams_of(at::Device device) {
  thread_local std::map<at::DeviceIndex, std::array<c10::Stream, 2>> known;
  const c10::impl::VirtualGuardImpl impl(device.type());
  const auto stream = [&] { return impl.getStreamFromGlobalPool(device, /*isHighPriority=*/false); };
  const auto found = known.find(device.index());
  if (found != known.end()) return found->second;
  return known.emplace(device.index(), std::array<c10::Stream, 2>{stream(), stream()}).first->second;
}

c10::Stream current_stream(at::Device device) { return c10::impl::VirtualGuardImpl(device.type()).getStream(device); }

}  // namespace

AttendStreams::AttendStreams(at::Device device, bool wanted) : callers_(current_stream(device)) {
  if (!wanted || !device.is_cuda()) return;
  const std::array<c10::Stream, 2> streams = streams_of(device);
  sides_ = {Side{streams[0]}, Side{streams[1]}};
}

AttendStreams::~AttendStreams() { join(); }

void AttendStreams::inputs_are_given() {
  if (!sides_) return;
  inputs_.emplace(callers_.device_type());
  inputs_->record(callers_);
}

std::optional<c10::StreamGuard> AttendStreams::next() {
  if (!sides_) return {};
  Side& side = (*sides_)[static_cast<std::size_t>(turn_)];
  turn_ = 1 - turn_;
  side.busy = true;
  inputs_->block(side.stream);
  return std::optional<c10::StreamGuard>(std::in_place, side.stream);
}

void AttendStreams::gives(std::initializer_list<at::Tensor> results) const {
  if (!sides_) return;
  for (const at::Tensor& result : results) {
    if (result.defined()) result.record_stream(callers_);
  }
}

void AttendStreams::join() {
  if (!sides_) return;
  for (Side& side : *sides_) {
    if (!side.busy) continue;
    c10::Event end(side.stream.device_type());
    end.record(side.stream);
    end.block(callers_);
    side.busy = false;
  }
}

}  // namespace ringtron::internal
