// The loss scale of fp16: what gradients are multiplied by in the backward pass, so that small ones do not become zero.
//
// Constant, or dynamic as in Megatron-LM: of the steps whose gradients are not finite, which change no weights, each
// from the `hysteresis`-th on halves the scale, down to `smallest`; `window` steps in a row without one double it, and
// the count for the hysteresis begins anew. The state is on the device and changes there: the host waits for nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

struct LossScaleOptions {
  bool dynamic = true;
  double initial = 4294967296.0;  // constant: the scale
  double smallest = 1.0;
  int window = 1000;   // steps
  int hysteresis = 2;  // steps
};

// What a checkpoint keeps.
struct LossScaleState {
  double scale = 1.0;
  std::int64_t growth_tracker = 0;      // steps without an overflow since the last with one, or the last doubling
  std::int64_t hysteresis_tracker = 0;  // overflows until the scale is halved; 0 or less: the next does
  bool operator==(const LossScaleState&) const = default;
};

class LossScale {
 public:
  LossScale(const LossScaleOptions& options, at::Device device);

  // Without dims, fp64, on the device; of the next step. Not changed afterwards: update() makes another.
  at::Tensor scale() const;

  // After each step. `overflow`: one element, on the device, not 0 if a gradient was not finite; the same on all ranks.
  void update(const at::Tensor& overflow);

  // Waits for the device.
  LossScaleState state() const;
  // A constant scale stays what it is.
  void set_state(const LossScaleState& state);

 private:
  LossScaleOptions options_;
  at::Tensor state_;  // fp64: the members of LossScaleState
};

}  // namespace ringtron
