// Internal to comm: the signal pad, what the ranks of a group that copy from each other's memory tell each other, in
// memory they all share.
//
// Flags are words that a device writes in the order of its stream and that devices and hosts wait for; they only grow,
// but for wrapping around. Posted sends go from a sender's host to a receiver's, one ring for each ordered pair of
// ranks. Any rank may use any flag; a ring has one thread at a time that pushes and one that pops.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ringtron {

// A device's memory as another process can reach it.
struct PeerPointer {
  static constexpr std::size_t kLongestHandle = 128;
  std::array<char, kLongestHandle> handle{};  // of the allocation, in the device library's own form
  std::uint32_t handle_bytes = 0;
  std::int64_t offset = 0;  // bytes from the allocation's begin
};

// A message that can be fetched when `ready` has reached its exchange.
struct PostedSend {
  std::uint32_t exchange = 0;
  PeerPointer where;
  std::int64_t bytes = 0;
};

using Flag = std::uint32_t;

// Whether a flag has come to `value`, with wrap-around, as stream operations of CUDA compare.
inline bool reached(const Flag& flag, std::uint32_t value) {
  // C++20's atomic_ref takes no const object.
  return static_cast<std::int32_t>(std::atomic_ref<Flag>(const_cast<Flag&>(flag)).load(std::memory_order_acquire) -
                                   value) >= 0;
}

class PostedSendRing {
 public:
  static constexpr std::uint32_t kCapacity = 64;
  bool push(const PostedSend& posted_send);  // false: full
  // The oldest, until popped; null where there is none.
  const PostedSend* front() const;
  void pop();

 private:
  alignas(64) std::atomic<std::uint32_t> pushed_;
  alignas(64) std::atomic<std::uint32_t> popped_;
  std::array<PostedSend, kCapacity> places_;
};

// A view of memory of bytes_for(ranks) bytes, which was zero when the first of the ranks came.
class SignalPad {
 public:
  static std::size_t bytes_for(int ranks);
  SignalPad(std::byte* memory, int ranks) : memory_(memory), ranks_(ranks) {}

  int ranks() const { return ranks_; }
  // `from`'s stream has come to this exchange, so that what it sends to `to` is there.
  Flag& ready(int from, int to) const;
  // All that `from` sends to `to` in this exchange has been copied.
  Flag& moved(int from, int to) const;
  PostedSendRing& posted_sends(int from, int to) const;

 private:
  std::byte* memory_;
  int ranks_;
};

}  // namespace ringtron
