// Internal to comm: messages between devices of one machine as copies by their copy engines, with no kernel.
//
// A receiver fetches. In an exchange the hosts meet: each posts where its messages lie (a PostedSend) and takes those
// of its peers; then a stream of its own waits for the sender's stream to write `ready`, fetches the messages and
// writes `moved`, for which the streams of both ranks wait. A message takes no multiprocessor from the kernels that
// hide it, as NCCL's kernels do, and starts when it is ready, not when multiprocessors become free.
//
// Why nobody waits for ever: hosts wait for each other only in an exchange, to come to the same exchange, and post
// before they wait. When exchange() returns, all that this rank's device does for it has been given to it, so that a
// call which waits for the device (as freeing or opening memory does) ends. A stream waits only for streams to come to
// the same exchange or an earlier one, also when all streams share one queue (CUDA_DEVICE_MAX_CONNECTIONS=1).
//
// One thread at a time calls exchange() and wait(); has_ended() and release() may be called by any.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/peer_copy/signal_pad.h"

namespace ringtron {

// What a device must be able to do. For tests there is one that is no device.
class PeerMemory {
 public:
  virtual ~PeerMemory() = default;

  virtual PeerPointer exported(const at::Tensor& tensor) = 0;
  // In the current stream: writes `value` into the flags, when what was there before has ended.
  virtual void mark(std::span<Flag* const> flags, std::uint32_t value) = 0;
  // The current stream waits for all flags to reach `value`.
  virtual void wait(std::span<Flag* const> flags, std::uint32_t value) = 0;

  struct Copy {
    void* to;
    PeerPointer from;
    std::int64_t bytes;
  };
  // In a stream for this peer alone, when the last mark() has been passed and `ready` has reached `value`: copies, then
  // writes `value` into `moved`.
  virtual void fetch(int peer, const Flag& ready, std::uint32_t value, std::span<const Copy> copies, Flag& moved) = 0;
  // Returns when the device has done all it was given.
  virtual void finish() = 0;
};

class PeerCopies {
 public:
  // An exchange under way.
  struct Ticket {
    std::uint32_t exchange = 0;
    std::vector<Flag*> moved;  // have reached `exchange` when all of this rank's messages have been copied, both ways
  };

  PeerCopies(SignalPad board, int rank, std::unique_ptr<PeerMemory> memory)
      : board_(board), rank_(rank), memory_(std::move(memory)) {}
  ~PeerCopies();

  // As Communicator::exchange. All ranks call it equally often. `check_peers` is called while this waits for a peer's
  // host and ends the wait by an exception.
  Ticket exchange(std::span<const Send> sends, std::span<const Receive> receives,
                  const std::function<void()>& check_peers);
  // The current stream waits.
  void wait(const Ticket& ticket);
  static bool has_ended(const Ticket& ticket);

  // Returns when all exchanges so far have ended on this rank's device, or after release(). Not while an exception
  // unwinds, which counts as a failure.
  void drain();
  // After a failure: ends what this rank's streams wait for. A peer that has not noticed yet may write flags once more,
  // so it is called again and again.
  void release();

 private:
  struct Incoming {
    int peer;
    std::vector<PeerMemory::Copy> copies;  // in the order of messages
    std::size_t known = 0;                 // of so many it is known where they come from
  };

  std::vector<Incoming> incoming(std::span<const Receive> receives) const;
  bool take_posted_sends(std::uint32_t exchange, Incoming& from) const;  // true: all are there

  const SignalPad board_;
  const int rank_;
  std::unique_ptr<PeerMemory> memory_;
  std::atomic<std::uint32_t> exchanges_ = 0;
  std::atomic<bool> released_ = false;
};

}  // namespace ringtron
