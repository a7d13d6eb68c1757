// Ring attention (p2p) as a list of steps: whole blocks that go round, or halos straight from their owners.
#include <algorithm>
#include <utility>

#include "ringtron/context_parallel/plan/block_tasks.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron {
namespace {

// Blocks go up by one rank a step; in the backward down, and the sums of their gradients follow a step behind.
ExchangePlan ring(const PlanRequest& request, int rank, bool backward) {
  const int n = request.layout.ranks();
  const int up = (rank + 1) % n, down = (rank + n - 1) % n;
  const int to = backward ? down : up, from = backward ? up : down;
  // Whose block is here at a step.
  const auto owner = [&](int step) { return (backward ? rank + 1 + step : rank + n - step) % n; };
  ExchangePlan plan{rank, {}};
  for (int i = 0; i < n; ++i) {
    Step step;
    step.communicates = i + 1 < n || (backward && n > 1);
    if (i + 1 < n) {
      append_block(step.sends, to, Payload::key_value, owner(i), request.layout);
      append_block(step.receives, from, Payload::key_value, owner(i + 1), request.layout);
    }
    if (backward && i > 0) {
      append_block(step.sends, to, Payload::key_value_gradient, owner(i - 1), request.layout);
      append_block(step.receives, from, Payload::key_value_gradient, owner(i), request.layout);
    }
    step.tasks = tasks_between(request, rank, owner(i));
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

// What every rank needs of every other, as rows of the owner: [rank][owner].
using Halos = std::vector<std::vector<std::vector<PositionRange>>>;

// A range of the sequence, and whose it is.
struct OwnedRange {
  int owner;
  StoredRange stored;
};

// Of all ranks, in sequence order.
std::vector<OwnedRange> ranges_in_order(const SequenceLayout& layout) {
  std::vector<OwnedRange> ranges;
  for (int owner = 0; owner < layout.ranks(); ++owner) {
    for (const StoredRange& stored : stored_ranges(layout.of(owner))) ranges.push_back({owner, stored});
  }
  std::ranges::sort(ranges, {}, [](const OwnedRange& range) { return range.stored.positions.begin; });
  return ranges;
}

// Keys outside a rank's own ranges that its queries see, ascending and disjoint. Before a range of queries these are
// the keys of its first query only, behind it those of its last.
std::vector<PositionRange> foreign_keys(const PlanRequest& request, int rank) {
  std::vector<PositionRange> keys;
  for (const PositionRange& queries : request.layout.of(rank)) {
    for (const AttentionMask& mask : request.masks) {
      keys.push_back({mask.keys_of(queries.begin).begin, queries.begin});
      keys.push_back({queries.end, mask.keys_of(queries.end - 1).end});
    }
  }
  std::erase_if(keys, [](const PositionRange& range) { return range.empty(); });
  std::ranges::sort(keys, {}, &PositionRange::begin);
  std::vector<PositionRange> merged;
  for (const PositionRange& range : keys) {
    if (!merged.empty() && range.begin <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

// One sweep over the sequence for each rank, whatever the number of pairs.
Halos halos_of(const PlanRequest& request) {
  const int n = request.layout.ranks();
  const std::vector<OwnedRange> ranges = ranges_in_order(request.layout);
  Halos halos(static_cast<std::size_t>(n), Halos::value_type(static_cast<std::size_t>(n)));
  for (int rank = 0; rank < n; ++rank) {
    const std::vector<PositionRange> keys = foreign_keys(request, rank);
    auto first = keys.begin();
    for (const OwnedRange& range : ranges) {
      const PositionRange& positions = range.stored.positions;
      while (first != keys.end() && first->end <= positions.begin) ++first;
      if (range.owner == rank) continue;
      PositionRange span{positions.end, positions.begin};
      for (auto part = first; part != keys.end() && part->begin < positions.end; ++part) {
        const PositionRange seen = intersection(*part, positions);
        span = {std::min(span.begin, seen.begin), std::max(span.end, seen.end)};
      }
      // Rows that touch become one message, since one task may cover both.
      if (!span.empty()) append_range(halos[rank][range.owner], range.stored.rows_of(span));
    }
  }
  return halos;
}

void append_rows(std::vector<Message>& messages, int peer, Payload payload, int owner,
                 const std::vector<PositionRange>& rows) {
  for (const PositionRange& range : rows) messages.push_back({peer, payload, owner, range});
}

// Keys and values for the blocks `distance` behind: every rank sends to the rank so far ahead. Their gradients go the
// other way.
void exchange_halos(const Halos& halos, int rank, int distance, Payload payload, Step& step) {
  const int n = static_cast<int>(halos.size());
  const int ahead = (rank + distance) % n, behind = (rank - distance + n) % n;
  const bool home = payload == Payload::key_value_gradient;
  append_rows(home ? step.receives : step.sends, ahead, payload, rank, halos[ahead][rank]);
  append_rows(home ? step.sends : step.receives, behind, payload, behind, halos[rank][behind]);
}

bool any_halo(const Halos& halos, int distance) {
  const int n = static_cast<int>(halos.size());
  for (int rank = 0; rank < n; ++rank) {
    if (!halos[(rank + distance) % n][rank].empty()) return true;
  }
  return false;
}

// What a rank computes with the block of each owner.
using TasksByOwner = std::vector<std::vector<BlockTask>>;

ExchangePlan halo_plan(const Halos& halos, const TasksByOwner& tasks_of, int rank, bool backward) {
  const int n = static_cast<int>(halos.size());
  const auto any = [&](int distance) { return distance > 0 && distance < n && any_halo(halos, distance); };
  ExchangePlan plan{rank, {}};
  for (int i = 0; i <= n; ++i) {
    const bool fetches = any(i + 1), tasks = i == 0 || any(i), returns = backward && any(i - 1);
    if (!fetches && !tasks && !returns) continue;
    Step step;
    step.communicates = fetches || returns;
    if (fetches) exchange_halos(halos, rank, i + 1, Payload::key_value, step);
    if (returns) exchange_halos(halos, rank, i - 1, Payload::key_value_gradient, step);
    if (tasks) step.tasks = tasks_of[static_cast<std::size_t>((rank - i + n) % n)];
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

}  // namespace

RankPlan plan_p2p(const PlanRequest& request, int rank) {
  const int ranks = request.layout.ranks();
  if (internal::is_dense(request)) return {ring(request, rank, false), ring(request, rank, true), (rank + 1) % ranks};
  const Halos halos = halos_of(request);
  TasksByOwner tasks;
  for (int owner = 0; owner < ranks; ++owner) tasks.push_back(tasks_between(request, rank, owner));
  return {halo_plan(halos, tasks, rank, false), halo_plan(halos, tasks, rank, true), rank};
}

}  // namespace ringtron
