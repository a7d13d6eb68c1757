#include "ringtron/comm/peer_copy/signal_pad.h"

namespace ringtron {
namespace {

// A flag has a cache line of its own: a device writes it while others look at its neighbours.
constexpr std::size_t kFlagStride = 64;

std::size_t flags(int ranks) { return 2 * static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks); }

}  // namespace

static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "rings are shared between processes");
static_assert(alignof(PostedSendRing) == kFlagStride);

bool PostedSendRing::push(const PostedSend& posted_send) {
  const std::uint32_t at = pushed_.load(std::memory_order_relaxed);
  if (at - popped_.load(std::memory_order_acquire) == kCapacity) return false;
  places_[at % kCapacity] = posted_send;
  pushed_.store(at + 1, std::memory_order_release);
  return true;
}

const PostedSend* PostedSendRing::front() const {
  const std::uint32_t at = popped_.load(std::memory_order_relaxed);
  if (pushed_.load(std::memory_order_acquire) == at) return nullptr;
  return &places_[at % kCapacity];
}

void PostedSendRing::pop() { popped_.store(popped_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

std::size_t SignalPad::bytes_for(int ranks) {
  return flags(ranks) * kFlagStride +
         static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks) * sizeof(PostedSendRing);
}

Flag& SignalPad::ready(int from, int to) const {
  return *reinterpret_cast<Flag*>(memory_ + static_cast<std::size_t>(from * ranks_ + to) * kFlagStride);
}

Flag& SignalPad::moved(int from, int to) const {
  return *reinterpret_cast<Flag*>(memory_ + static_cast<std::size_t>((ranks_ + from) * ranks_ + to) * kFlagStride);
}

PostedSendRing& SignalPad::posted_sends(int from, int to) const {
  std::byte* rings = memory_ + flags(ranks_) * kFlagStride;
  return *reinterpret_cast<PostedSendRing*>(rings +
                                            static_cast<std::size_t>(from * ranks_ + to) * sizeof(PostedSendRing));
}

}  // namespace ringtron
