// What scans along the sequence are told of a micro-batch. Made once, shared by its layers.
#pragma once

#include <memory>
#include <vector>

#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/mamba_context_parallel/scan_plan.h"

namespace ringtron {

struct ScanShape {
  SequenceLayout layout;
  ScanPlan plan;
  std::shared_ptr<const ScanSegments> own;    // of this rank's rows
  std::shared_ptr<const ScanSegments> whole;  // of all rows in the order of the sequence, where ranks share heads
};

// `rank`: of the context group; the layout has one rank for each of them.
std::shared_ptr<const ScanShape> make_scan_shape(const SequenceShape& shape, std::int64_t samples, int rank);

}  // namespace ringtron
