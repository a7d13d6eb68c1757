// The gather strategy (all_gather) as a list of steps.
#include <utility>

#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan/plan_parts.h"

namespace ringtron {
namespace {

using internal::append_block;
using internal::StoredRange;

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
std::vector<Attend> attends_to_others(const PlanRequest& request, int rank) {
  const std::vector<StoredRange> gaps = gaps_of(request, rank);
  std::vector<Attend> attends;
  for (const StoredRange& range : internal::stored_ranges(request.layout, rank)) {
    internal::append_attends_in_reach(request, range, kWholeSequence, gaps, attends);
  }
  return internal::joined(std::move(attends));
}

// A rank's own block hides the gather; then come the keys of all others.
ExchangePlan forward_plan(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  Step gather = gather_step(request, rank), others;
  gather.attends = internal::attends_between(request, rank, rank);
  others.attends = attends_to_others(request, rank);
  return {rank, n, {std::move(gather), std::move(others)}, n > 1};
}

// A rank's own block hides two messages: one part of its heads the gather, another the way home of what other ranks' keys have
// got. Two halves of the heads take 8% longer than one call at 8K rows, and need no sum; a causal square of 16K rows cut into
// two and a rectangle took 14% longer (H200).
ExchangePlan dense_backward_plan(const PlanRequest& request, int rank) {
  Step gather = gather_step(request, rank), others, between, home = return_step(request, rank);
  const std::vector<Attend> own = internal::attends_between(request, rank, rank);
  gather.attends = internal::of_heads(own, HeadPart::first);
  others.attends = attends_to_others(request, rank);
  between.attends = internal::of_heads(own, HeadPart::filler);
  home.attends = internal::of_heads(own, HeadPart::last);
  return {rank, request.layout.ranks(), {std::move(gather), std::move(others), std::move(between), std::move(home)}, true};
}

// Small as the tiles of documents and windows are, twice the calls cost more than a message. So the first of a rank's ranges
// hides the gather, the others the way home.
ExchangePlan sparse_backward_plan(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  Step gather = gather_step(request, rank), home = return_step(request, rank);
  const std::vector<StoredRange> ranges = internal::stored_ranges(request.layout, rank);
  // As its own block: there, unlike in the sequence, they are neighbours, and their tiles fit into one call.
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    internal::append_attends(request, ranges[i], rank, ranges[i], i == 0 ? gather.attends : home.attends);
  }
  return {rank, n, {std::move(gather), whole_sequence_step(request, rank), std::move(home)}, n > 1};
}

}  // namespace

PlanOfRank plan_all_gather(const PlanRequest& request, int rank) {
  const bool parts = internal::is_dense(request) && request.layout.ranks() > 1;
  return {forward_plan(request, rank), parts ? dense_backward_plan(request, rank) : sparse_backward_plan(request, rank)};
}

}  // namespace ringtron
