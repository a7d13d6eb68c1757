// A stream beside the current one, for messages and what belongs to them. On a CPU there is none, and all of this does
// nothing: work goes where the current one's does.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <optional>

namespace ringtron {

// Where a stream stands: what has been given to it so far.
class StreamMoment {
 public:
  StreamMoment() = default;                   // of no stream: always over
  explicit StreamMoment(at::Device device);   // of the current one
  void make_current_wait(at::Device device);  // the current stream goes on when this is over

 private:
  std::optional<c10::Event> event_;
};

class SideStream {
 public:
  explicit SideStream(at::Device device);

  // While it lives, work goes to the side stream, behind `after` of another one.
  class Use {
   public:
    Use(SideStream& side, StreamMoment after);

   private:
    std::optional<c10::StreamGuard> guard_;
  };

 private:
  at::Device device_;
  std::optional<c10::Stream> stream_;
};

}  // namespace ringtron
