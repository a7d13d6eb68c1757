// The messages of one rank for one layer, in order, by size: what a transport sends, without what it is for.
//
// profile_cp sends them alone to see how long they take.
#pragma once

#include <cstdint>
#include <vector>

#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

struct SizedMessage {
  int peer = 0;
  std::int64_t bytes = 0;
};

// One grouped exchange. All ranks have the same number of them in the same order.
struct Transfer {
  std::vector<SizedMessage> sends, receives;
};

// Forward and then backward of the plan of `rank`; `layout` is the one of all ranks. Steps without messages
// are left out.
std::vector<Transfer> transfers_of(const TransportPlan& plan, const SequenceLayout& layout,
                                   const AttentionShape& shape, int rank);

}  // namespace ringtron
