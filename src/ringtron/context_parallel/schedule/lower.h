// From what a transport says to what a rank does: a plan and the facts about shapes and device become a schedule.
#pragma once

#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron {

// What of a call decides how its plan is run.
struct LoweringFacts {
  std::int64_t heads = 1, groups = 1;  // query and key/value heads, before ranks share them
  // Whether the kernels take varlen batches, see varlen_batches.h. They may read rows between tiles, so all rows of a
  // buffer are filled then.
  bool varlen_forward = false, varlen_backward = false;
  bool operator==(const LoweringFacts&) const = default;
};

// Throws InternalError for a plan that reads what it does not hold.
RankSchedules lower(const TransportPlan& plan, const LoweringFacts& facts);

}  // namespace ringtron
