// The gather strategy (all_gather) as a list of steps.
#include <utility>

#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan/plan_parts.h"

namespace ringtron {
namespace {

using internal::append_block;
using internal::StoredRange;

Step gather_step(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  Step step;
  step.communicates = n > 1;
  for (int i = 1; i < n; ++i) {
    const int ahead = (rank + i) % n, behind = (rank - i + n) % n;
    append_block(step.sends, ahead, Payload::key_value, rank, request.layout);
    append_block(step.receives, behind, Payload::key_value, behind, request.layout);
  }
  // Each range against itself needs no other rank, so it hides the gather.
  for (const StoredRange& range : internal::stored_ranges(request.layout, rank)) {
    internal::append_attends(request, range, rank, range, step.attends);
  }
  return step;
}

Step whole_sequence_step(const PlanRequest& request, int rank) {
  Step step;
  for (const StoredRange& range : internal::stored_ranges(request.layout, rank)) {
    const StoredRange before{{0, range.positions.begin}, 0};
    const StoredRange after{{range.positions.end, request.layout.sequence_length()}, range.positions.end};
    internal::append_attends(request, range, kWholeSequence, before, step.attends);
    internal::append_attends(request, range, kWholeSequence, after, step.attends);
  }
  return step;
}

Step return_step(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  Step step;
  step.communicates = n > 1;
  for (int peer = 0; peer < n; ++peer) {
    if (peer == rank) continue;
    append_block(step.sends, peer, Payload::key_value_gradient, peer, request.layout);
    append_block(step.receives, peer, Payload::key_value_gradient, rank, request.layout);
  }
  return step;
}

}  // namespace

PlanOfRank plan_all_gather(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  PlanOfRank plan{{rank, n, {gather_step(request, rank), whole_sequence_step(request, rank)}, n > 1}, {}};
  plan.backward = plan.forward;
  plan.backward.steps.push_back(return_step(request, rank));
  return plan;
}

}  // namespace ringtron
