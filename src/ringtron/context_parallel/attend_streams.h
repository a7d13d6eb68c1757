// Streams for attends that need nothing of each other, so that one begins where the end of another leaves multiprocessors idle.
//
// A kernel's last blocks do not fill a GPU: of 2.3 ms of a backward over 8,192 tokens that is 0.15 ms, which each of
// a plan's attends would lose. So attends take turns on two streams beside the caller's, in order with what they read.
// What they give may be used by the caller's stream after join(), and their memory be let go at any time. What they read must
// stay until join(). On a device without streams, or if not wanted, everything runs where it did.
// The two streams are the same for all calls of a thread on a device: LibTorch keeps memory by stream.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <array>
#include <initializer_list>
#include <optional>

namespace ringtron::internal {

class AttendStreams {
 public:
  AttendStreams(at::Device device, bool wanted);
  // Joins: what comes after must not overtake.
  ~AttendStreams();
  AttendStreams(const AttendStreams&) = delete;
  AttendStreams& operator=(const AttendStreams&) = delete;

  // What the caller's stream has been given so far is all that later attends read.
  void inputs_are_given();

  // While the guard lives, the current stream is that of the next attend.
  std::optional<c10::StreamGuard> next();
  // These tensors are what an attend gave; undefined ones count for nothing.
  void gives(std::initializer_list<at::Tensor> results) const;

  // The caller's stream waits for all attends so far.
  void join();

 private:
  struct Side {
    c10::Stream stream;
    bool busy = false;  // it has been given something since the last join
  };

  std::optional<std::array<Side, 2>> sides_;
  c10::Stream callers_;
  std::optional<c10::Event> inputs_;
  int turn_ = 0;
};

}  // namespace ringtron::internal
