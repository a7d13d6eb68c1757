// A schedule as a drawing, and how much of a step a rank waits in it. Without LibTorch.
#pragma once

#include <string>
#include <vector>

#include "ringtron/pipeline_parallel/pipeline_schedule.h"

namespace ringtron {

// When each forward and backward of all ranks runs if a forward takes one unit of time, a backward two, and messages
// none: what a schedule alone decides. A backward of inputs alone takes one unit, and a weight gradient one.
struct PipelineTimes {
  struct Piece {
    Instruction work;
    int begin = 0, end = 0;
  };
  std::vector<std::vector<Piece>> ranks;
  int end = 0;  // of the last rank to end

  // The share of the step that ranks wait, of all ranks together.
  double waiting() const;
};

// InternalError for lists that check_pipeline() refuses.
PipelineTimes pipeline_times(const ScheduleOfRank& lists, const PipelineShape& shape);

// A line a rank, time from left to right: the number of its micro-batch for a forward (with a letter for the chunk,
// where there are several), the same in brackets, twice as wide, for a backward, and dots where the rank waits. Where
// backwards are of inputs alone they are not wider, and weight gradients have round brackets.
std::vector<std::string> draw(const PipelineTimes& times, const PipelineShape& shape);

}  // namespace ringtron
