#include "ringtron/comm/peer_board.h"

namespace ringtron {
namespace {

// A flag has a cache line of its own: a device writes it while others look at its neighbours.
constexpr std::size_t kFlagStride = 64;

std::size_t flags(int ranks) {
  return 2 * static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks);
}

}  // namespace

static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "rings are shared between processes");
static_assert(alignof(NoticeRing) == kFlagStride);

bool NoticeRing::push(const Notice& notice) {
  const std::uint32_t at = pushed_.load(std::memory_order_relaxed);
  if (at - popped_.load(std::memory_order_acquire) == kCapacity) return false;
  places_[at % kCapacity] = notice;
  pushed_.store(at + 1, std::memory_order_release);
  return true;
}

const Notice* NoticeRing::front() const {
  const std::uint32_t at = popped_.load(std::memory_order_relaxed);
  if (pushed_.load(std::memory_order_acquire) == at) return nullptr;
  return &places_[at % kCapacity];
}

void NoticeRing::pop() {
  popped_.store(popped_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

std::size_t PeerBoard::bytes_for(int ranks) {
  return flags(ranks) * kFlagStride + static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks) * sizeof(NoticeRing);
}

Flag& PeerBoard::ready(int from, int to) const {
  return *reinterpret_cast<Flag*>(memory_ + static_cast<std::size_t>(from * ranks_ + to) * kFlagStride);
}

Flag& PeerBoard::moved(int from, int to) const {
  return *reinterpret_cast<Flag*>(memory_ + static_cast<std::size_t>((ranks_ + from) * ranks_ + to) * kFlagStride);
}

NoticeRing& PeerBoard::notices(int from, int to) const {
  std::byte* rings = memory_ + flags(ranks_) * kFlagStride;
  return *reinterpret_cast<NoticeRing*>(rings + static_cast<std::size_t>(from * ranks_ + to) * sizeof(NoticeRing));
}

}  // namespace ringtron
