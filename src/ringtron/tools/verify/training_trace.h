// The losses and gradients of a few training steps, and how far those of two layouts of ranks lie apart.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "ringtron/tools/faults/faulty_attention.h"
#include "ringtron/train/job.h"

namespace ringtron {

// One tensor, or number, as all ranks see it: the smallest and the largest of their values, element by
// element. Equal where the ranks agree; a NaN of any rank counts as infinite.
struct Seen {
  at::Tensor lowest, highest;
};

struct TracedStep {
  Seen loss;                                            // 0-dim
  std::vector<std::pair<std::string, Seen>> gradients;  // of the mean loss, of the whole model, in the model's order
};

using TrainingTrace = std::vector<TracedStep>;

// Trains `job.config()` from its initial weights for --train-iters steps. --padded-vocab-size is given.
// `before_step` is called with 1, 2, ... .
// Ends early, on all ranks, when loss or gradients are no longer finite. Collective; the trace is the same on
// all ranks.
TrainingTrace trace_training(const Job& job, CpFault fault, const std::function<void(int step)>& before_step);

struct StepDifference {
  double loss = 0.0, other_loss = 0.0;
  double loss_difference = 0.0;      // relative
  double gradient_difference = 0.0;  // of the parameter that differs most
  std::string parameter;             // its name
};

struct TraceDifference {
  std::vector<StepDifference> steps;
  double loss = 0.0, gradient = 0.0;  // the largest of all steps
  // The first step at which something is beyond the bound, and the first parameter in the model's order that
  // is then; 0 and empty: all is within. A loss may differ before a gradient does.
  int first_step = 0;
  std::string first_parameter;
  double first_difference = 0.0;
  bool within(double bound) const { return loss <= bound && gradient <= bound; }
};

// A gradient's difference is that of any element, relative to the largest element of its tensor; where that
// is nothing but rounding (as for the bias of keys without rotary positions), relative to the largest
// gradient of the model. Infinite where names, shapes or the number of steps differ, or something is not
// finite.
TraceDifference compare_traces(const TrainingTrace& expected, const TrainingTrace& got, double bound);

}  // namespace ringtron
