// The two ways of a scan over a sequence that many ranks share (context_scan.h), and what each sends, by closed form.
#pragma once

#include <cstdint>

#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/mamba_context_parallel/scan_plan.h"

namespace ringtron {

// states: ranks pass on what their pieces end with. heads: each rank scans the whole sequence for some heads.
enum class ScanWay { states, heads };

// Of one tensor rank.
struct ScanSizes {
  std::int64_t heads = 0, head_size = 0, groups = 0, state_size = 0;

  std::int64_t inner() const { return heads * head_size; }
  std::int64_t shared() const { return groups * state_size; }
};

// The heads whose states `rank` passes on from piece to piece, for all ranks (state_passing.h).
PositionRange heads_to_pass(std::int64_t heads, int ranks, int rank);

struct ScanMessages {
  ScanSizes sizes;
  std::int64_t samples = 1;
  std::int64_t halo_rows = 3;  // the width of the convolution less one
  std::int64_t element_bytes = 4, state_bytes = 4;
};

struct ScanBytes {
  std::int64_t forward = 0, backward = 0;
};

// What `rank` sends of states for one layer and micro-batch of the samples and documents that the plan is of.
ScanBytes scan_bytes(const ScanPlan& plan, const ScanMessages& of_one_sample, int rank);

// What `rank` sends for one layer and micro-batch whose samples are one document each.
ScanBytes scan_bytes(const SequenceLayout& layout, ScanWay way, const ScanMessages& messages, int rank);

}  // namespace ringtron
