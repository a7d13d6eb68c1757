// All-gather of keys and values (all_gather) as a list of steps.
#include <utility>

#include "ringtron/context_parallel/plan/block_tasks.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron {
namespace {

// Every rank sends its block to all others; or the sums of gradients of theirs home to them.
Step exchange_with_all(const PlanRequest& request, int rank, Payload payload) {
  const bool home = payload == Payload::key_value_gradient;
  Step step;
  step.communicates = request.layout.ranks() > 1;
  for (int peer = 0; peer < request.layout.ranks(); ++peer) {
    if (peer == rank) continue;
    append_block(step.sends, peer, payload, home ? peer : rank, request.layout);
    append_block(step.receives, peer, payload, home ? rank : peer, request.layout);
  }
  return step;
}

Step whole_sequence_step(const PlanRequest& request, int rank) {
  Step step;
  for (const StoredRange& range : stored_ranges(request.layout.of(rank))) {
    const StoredRange before{{0, range.positions.begin}, 0};
    const StoredRange after{{range.positions.end, request.layout.sequence_length()}, range.positions.end};
    internal::append_tasks(request, range, kWholeSequence, {before, after}, step.tasks);
  }
  return step;
}

// What lies between this rank's ranges, before and behind them.
std::vector<StoredRange> gaps_of(const PlanRequest& request, int rank) {
  std::vector<StoredRange> gaps;
  std::int64_t from = 0;
  for (const PositionRange& range : request.layout.of(rank)) {
    gaps.push_back({{from, range.begin}, from});
    from = range.end;
  }
  gaps.push_back({{from, request.layout.sequence_length()}, from});
  return gaps;
}

// What a rank sees of the keys of all others.
std::vector<BlockTask> tasks_of_others(const PlanRequest& request, int rank) {
  const std::vector<StoredRange> gaps = gaps_of(request, rank);
  std::vector<BlockTask> tasks;
  for (const StoredRange& range : stored_ranges(request.layout.of(rank))) {
    internal::append_tasks(request, range, kWholeSequence, gaps, tasks);
  }
  return internal::joined(std::move(tasks));
}

// A rank's own block hides the gather; then come the keys of all others.
ExchangePlan forward_plan(const PlanRequest& request, int rank) {
  Step gather = exchange_with_all(request, rank, Payload::key_value), others;
  gather.tasks = tasks_between(request, rank, rank);
  others.tasks = tasks_of_others(request, rank);
  return {rank, {std::move(gather), std::move(others)}, request.layout.ranks() > 1};
}

// The first of a rank's ranges hides the gather, the others the way home of the others' gradients.
ExchangePlan backward_plan(const PlanRequest& request, int rank) {
  Step gather = exchange_with_all(request, rank, Payload::key_value);
  Step home = exchange_with_all(request, rank, Payload::key_value_gradient);
  const std::vector<StoredRange> ranges = stored_ranges(request.layout.of(rank));
  // As its own block: there, unlike in the sequence, they are neighbours, and their tiles fit into one call.
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    internal::append_tasks(request, ranges[i], rank, {ranges[i]}, i == 0 ? gather.tasks : home.tasks);
  }
  return {rank, {std::move(gather), whole_sequence_step(request, rank), std::move(home)}, request.layout.ranks() > 1};
}

}  // namespace

RankPlan plan_all_gather(const PlanRequest& request, int rank) {
  return {forward_plan(request, rank), backward_plan(request, rank), rank};
}

}  // namespace ringtron
