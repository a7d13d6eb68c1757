// The check for NaN and infinity: stops the weights when a loss or a gradient is not a finite number, without the host
// waiting for the device.
//
// From the first bad iteration on, the optimizer is told on the device to leave everything as it is; the host looks
// where it waits for the device anyway (each log line) and before it keeps anything (each checkpoint). So no checkpoint
// ever holds weights that a NaN has touched, however seldom is logged.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

class NanCheck {
 public:
  explicit NanCheck(at::Device device);

  // Of the iteration about to be applied, counted from 1; `first_sample`: the first of its batch. loss and norm: 0-dim,
  // the same bits on all ranks. Gives 1 from the first bad iteration on, else 0: fp32 [1] on the device, for
  // Optimizer::step.
  at::Tensor note(std::int64_t iteration, std::int64_t first_sample, const at::Tensor& loss, const at::Tensor& norm);

  // Waits for the device. Throws NumericError if an iteration was bad: the first one, its numbers and its samples.
  void require_finite() const;

 private:
  at::Tensor first_bad_;  // fp64 [4] on the device: iteration (0: none), first sample, loss and norm of it
  at::Tensor skip_;
};

}  // namespace ringtron
