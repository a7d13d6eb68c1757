// How long the parts of a step take, by the device's own clock: nothing waits for it until somebody asks.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <optional>

#include "ringtron/train/report/device_moment.h"

namespace ringtron {

// In the order in which Megatron lists them.
enum class StepPart {
  forward_backward,
  all_grads_sync,
  params_all_gather,
  optimizer_clip_main_grad,
  optimizer_count_zeros,
  optimizer_inner_step,
  optimizer,
  batch_generator,
  forward_compute,
  backward_compute,
  forward_recv,
  forward_send,
  backward_recv,
  backward_send,
};
inline constexpr std::size_t kStepParts = 14;

// Megatron's name, and the --timing-log-level from which on the part is timed.
const char* step_part_name(StepPart part);
int step_part_level(StepPart part);

// Seconds of each part, by its number.
using StepTimes = std::array<double, kStepParts>;

class StepTimers {
 public:
  // `level`: of --timing-log-level.
  StepTimers(at::Device device, int level) : device_(device), level_(level) {}

  // From where the device's current stream is when this is made to where it is at its end; on a CPU the time between.
  class Span {
   public:
    Span(StepTimers* timers, StepPart part);  // null, or a part above the level: nothing
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    StepTimers* timers_;
    StepPart part_;
    std::optional<DeviceMoment> begin_;
  };

  int level() const { return level_; }

  // The spans since the last cut.
  class Cut {
   public:
    // Waits until the device has come to the end of the last of them.
    StepTimes seconds();

   private:
    friend class StepTimers;
    struct Stretch {
      StepPart part;
      DeviceMoment begin, end;
    };
    void add(Stretch stretch);
    void take_first();

    StepTimes sums_{};
    std::deque<Stretch> open_;  // in the order of their ends
  };
  Cut cut();

 private:
  const at::Device device_;
  const int level_;
  Cut now_;
};

}  // namespace ringtron
