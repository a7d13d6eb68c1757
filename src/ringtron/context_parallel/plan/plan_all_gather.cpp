// All-gather of keys and values (all_gather) as a list of steps.
#include <utility>

#include "ringtron/context_parallel/plan/block_tasks.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron {
namespace {

// Every rank sends its block to all others.
Step gather_step(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  Step step;
  step.communicates = n > 1;
  for (int i = 1; i < n; ++i) {
    const int ahead = (rank + i) % n, behind = (rank - i + n) % n;
    append_block(step.sends, ahead, Payload::key_value, rank, request.layout);
    append_block(step.receives, behind, Payload::key_value, behind, request.layout);
  }
  return step;
}

Step whole_sequence_step(const PlanRequest& request, int rank) {
  Step step;
  for (const StoredRange& range : stored_ranges(request.layout.of(rank))) {
    const StoredRange before{{0, range.positions.begin}, 0};
    const StoredRange after{{range.positions.end, request.layout.sequence_length()}, range.positions.end};
    internal::append_tasks(request, range, kWholeSequence, before, step.tasks);
    internal::append_tasks(request, range, kWholeSequence, after, step.tasks);
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

// What lies between this rank's ranges, before and behind them.
std::vector<StoredRange> gaps_of(const PlanRequest& request, int rank) {
  std::vector<StoredRange> gaps;
  std::int64_t from = 0;
  const auto append = [&](std::int64_t end) {
    if (from < end) gaps.push_back({{from, end}, from});
  };
  for (const PositionRange& range : request.layout.of(rank)) {
    append(range.begin);
    from = range.end;
  }
  append(request.layout.sequence_length());
  return gaps;
}

// What a rank sees of the keys of all others.
std::vector<BlockTask> tasks_of_others(const PlanRequest& request, int rank) {
  const std::vector<StoredRange> gaps = gaps_of(request, rank);
  std::vector<BlockTask> tasks;
  for (const StoredRange& range : stored_ranges(request.layout.of(rank))) {
    internal::append_tasks_in_reach(request, range, kWholeSequence, gaps, tasks);
  }
  return internal::joined(std::move(tasks));
}

// A rank's own block hides the gather; then come the keys of all others.
ExchangePlan forward_plan(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  Step gather = gather_step(request, rank), others;
  gather.tasks = tasks_between(request, rank, rank);
  others.tasks = tasks_of_others(request, rank);
  return {rank, n, {std::move(gather), std::move(others)}, n > 1};
}

// The first of a rank's ranges hides the gather, the others the way home of the others' gradients.
ExchangePlan backward_plan(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  Step gather = gather_step(request, rank), home = return_step(request, rank);
  const std::vector<StoredRange> ranges = stored_ranges(request.layout.of(rank));
  // As its own block: there, unlike in the sequence, they are neighbours, and their tiles fit into one call.
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    internal::append_tasks(request, ranges[i], rank, ranges[i], i == 0 ? gather.tasks : home.tasks);
  }
  return {rank, n, {std::move(gather), whole_sequence_step(request, rank), std::move(home)}, n > 1};
}

}  // namespace

RankPlan plan_all_gather(const PlanRequest& request, int rank) {
  return {forward_plan(request, rank), backward_plan(request, rank), rank};
}

}  // namespace ringtron
