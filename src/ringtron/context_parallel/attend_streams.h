// Streams for attends that need nothing of each other, so that one begins where the end of another leaves multiprocessors idle.
//
// A kernel's last blocks do not fill a GPU: of 2.3 ms of a backward over 8,192 tokens that is 0.15 ms, which each of
// a plan's attends would lose. So attends take turns on streams of falling priority: an earlier attend's kernels go first, also
// the small ones at its end, on which a message may wait. What prepares and sums up has the highest priority of all; it
// runs in the current stream, which this sets while it lives and which is in order with the caller's.
// What an attend gives may be used when its mark has been waited for; what it reads must stay until then. The caller uses what
// comes of a call in the stream in which it calls. On a device without streams, or if not wanted, everything runs in the caller's stream.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <vector>

namespace ringtron::internal {

// Of attends beside each other, so many at most wait to be added to the result: each has rows of its own in memory.
inline constexpr std::size_t kMostWaiting = 4;

class AttendStreams {
 public:
  AttendStreams(at::Device device, bool wanted);
  // Joins: the caller's stream waits for everything.
  ~AttendStreams();
  AttendStreams(const AttendStreams&) = delete;
  AttendStreams& operator=(const AttendStreams&) = delete;

  // Whether attends run beside each other.
  bool apart() const { return current_.has_value(); }

  // What the current stream has been given so far is all that later attends read.
  void inputs_are_given();

  // What a stream has been given up to a point. None where everything runs in the caller's stream.
  using Mark = std::optional<c10::Event>;

  // While the guard lives, the current stream is that of the next attend.
  std::optional<c10::StreamGuard> next();
  // Of the current stream, which may be an attend's.
  Mark mark();
  // The current stream waits for it.
  void wait(Mark& mark);
  // These tensors are what an attend gave. Their memory is the attend's stream's again only when later attends wait for what
  // the current stream does with them; LibTorch's record_stream would keep it until the device has done that, with the host
  // layers ahead. Undefined ones count for nothing. Marks when they are complete.
  Mark gives(std::initializer_list<at::Tensor> results);

  // The current stream, outside of next(), waits for all attends so far.
  void join();

 private:
  struct Turn {
    c10::Stream stream;
    bool busy = false;  // it has been given something since the last join
  };

  c10::Stream caller_;
  std::optional<c10::StreamGuard> current_;  // none: no streams but the caller's
  std::vector<Turn> turns_;
  std::optional<c10::Event> inputs_;
  std::vector<at::Tensor> given_;
  std::size_t next_ = 0;
};

}  // namespace ringtron::internal
