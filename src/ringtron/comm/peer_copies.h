// Internal to comm: messages between devices of one machine as copies, with no kernel and no host in the way of a stream.
//
// A receiver fetches: the sender's host posts where a message lies (a Notice), the sender's stream writes `ready` when it has
// come there, and a thread of the receiver, the courier, sees both and has the device's copy engine fetch the message. Streams
// wait for the flag that is written behind the copies. So a message takes no multiprocessor from the kernels that hide it,
// as NCCL's kernels do, and starts when it is ready, not when multiprocessors become free.
//
// Why nobody waits for ever: an exchange's copies wait only for streams to come to that exchange, and a stream comes there
// unless it waits for an earlier one. The courier puts no wait into any stream, so that streams which share a queue of the
// device (CUDA_DEVICE_MAX_CONNECTIONS=1) do not hold each other up: a copy passes by a stream that waits.
//
// One thread calls exchange() and wait(); has_ended() and release() may be called by any.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/peer_board.h"

namespace ringtron {

// What a device must be able to do. For tests there is one that is no device.
class PeerMemory {
 public:
  virtual ~PeerMemory() = default;

  // Called by the thread that exchanges; `mark` and `wait` work in its current stream.
  virtual PeerPointer exported(const at::Tensor& tensor) = 0;
  virtual void mark(Flag& flag, std::uint32_t value) = 0;
  virtual void wait(std::span<Flag* const> flags, std::uint32_t value) = 0;  // for all of them to reach `value`

  // Called by the courier; begun in this order, in a stream that nothing else uses.
  virtual void copy(void* to, const PeerPointer& from, std::int64_t bytes) = 0;
  virtual void signal(Flag& flag, std::uint32_t value) = 0;  // when all copies before it have ended

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

  // `failed` is called from the courier when it cannot go on; release() follows from outside.
  PeerCopies(PeerBoard board, int rank, std::unique_ptr<PeerMemory> memory, std::function<void(const std::string&)> failed);
  ~PeerCopies();

  // Returns when all exchanges so far have ended here, or after release(). Unless an exception unwinds, which counts as a failure.
  void drain();

  // As Communicator::exchange. All ranks call it equally often.
  Ticket exchange(std::span<const Send> sends, std::span<const Receive> receives);
  // The current stream waits.
  void wait(const Ticket& ticket);
  static bool has_ended(const Ticket& ticket);

  // After a failure: ends what this rank's streams wait for and copies nothing any more. A peer that has not noticed yet may
  // write flags once more, so it is called again and again.
  void release();

 private:
  struct Place {
    void* to;
    std::int64_t bytes;
  };
  struct Incoming {
    int peer;
    std::vector<Place> places;  // in the order of messages
    std::size_t fetched = 0;
  };
  struct Job {
    std::uint32_t exchange;
    std::vector<Incoming> peers;
  };

  void run_courier();
  void fetch_all(Job job);
  bool fetch(std::uint32_t exchange, Incoming& incoming);  // true: a step forward
  void post(int peer, const Notice& notice);

  const PeerBoard board_;
  const int rank_;
  std::unique_ptr<PeerMemory> memory_;
  const std::function<void(const std::string&)> failed_;
  std::atomic<std::uint32_t> exchanges_ = 0;
  std::atomic<bool> released_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool fetching_ = false;  // a job has been taken from jobs_ and is not done
  bool stopping_ = false;
  std::thread courier_;
};

}  // namespace ringtron
