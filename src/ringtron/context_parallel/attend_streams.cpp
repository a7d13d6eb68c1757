#include "ringtron/context_parallel/attend_streams.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <exception>

#include "ringtron/kernels/device/streams.h"

namespace ringtron::internal {
namespace {

c10::Stream current_stream(at::Device device) { return c10::impl::VirtualGuardImpl(device.type()).getStream(device); }

void wait_for(const c10::Stream& waits, const c10::Stream& other) {
  c10::Event here(other.device_type());
  here.record(other);
  here.block(waits);
}

}  // namespace

AttendStreams::AttendStreams(at::Device device, bool wanted) : caller_(current_stream(device)) {
  if (!wanted) return;
  const std::vector<c10::Stream> pool = streams_by_priority(device);
  if (pool.empty()) return;
  wait_for(pool[0], caller_);
  current_.emplace(pool[0]);
  for (std::size_t i = 1; i < pool.size(); ++i) turns_.push_back({pool[i]});
}

AttendStreams::~AttendStreams() {
  if (!current_) return;
  try {
    join();
    wait_for(caller_, current_->current_stream());
  } catch (const std::exception&) {  // of a device that has failed: an error is under way, or the next call meets it
  }
}

void AttendStreams::inputs_are_given() {
  if (!current_) return;
  inputs_.emplace(caller_.device_type());
  inputs_->record(current_->current_stream());
  // Nobody else has them: the current stream was given the last that it does with them before this.
  std::erase_if(given_, [](const at::Tensor& tensor) { return tensor.use_count() == 1 && tensor.storage().use_count() == 1; });
}

std::optional<c10::StreamGuard> AttendStreams::next() {
  if (!current_) return {};
  if (next_ == turns_.size()) {
    // From the highest priority again: it must not pass by those under way.
    for (const Turn& turn : turns_) wait_for(turns_[0].stream, turn.stream);
    next_ = 0;
  }
  Turn& turn = turns_[next_++];
  turn.busy = true;
  inputs_->block(turn.stream);
  return std::optional<c10::StreamGuard>(std::in_place, turn.stream);
}

AttendStreams::Mark AttendStreams::mark() {
  if (!current_) return {};
  Mark here(std::in_place, caller_.device_type());
  here->record(current_stream(caller_.device()));
  return here;
}

void AttendStreams::wait(Mark& mark) {
  if (mark) mark->block(current_stream(caller_.device()));
}

AttendStreams::Mark AttendStreams::gives(std::initializer_list<at::Tensor> results) {
  if (!current_) return {};
  for (const at::Tensor& result : results) {
    if (result.defined()) given_.push_back(result);
  }
  return mark();
}

void AttendStreams::join() {
  if (!current_) return;
  for (Turn& turn : turns_) {
    if (turn.busy) wait_for(current_->current_stream(), turn.stream);
    turn.busy = false;
  }
}

}  // namespace ringtron::internal
