// Ring attention (p2p) as a list of steps: whole blocks that go round, or halos straight from their owners.
#include <algorithm>
#include <utility>

#include "ringtron/context_parallel/plan/block_tasks.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron {
namespace {

ExchangePlan ring_forward(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  const int next = (rank + 1) % n, previous = (rank + n - 1) % n;
  ExchangePlan plan{rank, n, {}};
  for (int i = 0; i < n; ++i) {
    const int owner = (rank - i + n) % n;
    Step step;
    step.communicates = i + 1 < n;
    if (step.communicates) {
      append_block(step.sends, next, Payload::key_value, owner, request.layout);
      append_block(step.receives, previous, Payload::key_value, (owner + n - 1) % n, request.layout);
    }
    step.tasks = tasks_between(request, rank, owner);
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

ExchangePlan ring_backward(const PlanRequest& request, int rank) {
  const int n = request.layout.ranks();
  const int next = (rank + 1) % n, previous = (rank + n - 1) % n;
  ExchangePlan plan{rank, n, {}};
  for (int i = 0; i < n; ++i) {
    const int owner = (rank + 1 + i) % n;
    Step step;
    step.communicates = n > 1;
    if (i + 1 < n) {
      append_block(step.sends, previous, Payload::key_value, owner, request.layout);
      append_block(step.receives, next, Payload::key_value, (owner + 1) % n, request.layout);
    }
    if (i > 0) {
      append_block(step.sends, previous, Payload::key_value_gradient, (owner + n - 1) % n, request.layout);
      append_block(step.receives, next, Payload::key_value_gradient, owner, request.layout);
    }
    step.tasks = tasks_between(request, rank, owner);
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
  std::sort(ranges.begin(), ranges.end(), [](const OwnedRange& a, const OwnedRange& b) {
    return a.stored.positions.begin < b.stored.positions.begin;
  });
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
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
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

// Keys and values for the blocks `distance` behind: every rank sends to the rank so far ahead.
void exchange_halos(const Halos& halos, int rank, int distance, Step& step) {
  const int n = static_cast<int>(halos.size());
  const int ahead = (rank + distance) % n, behind = (rank - distance + n) % n;
  append_rows(step.sends, ahead, Payload::key_value, rank, halos[ahead][rank]);
  append_rows(step.receives, behind, Payload::key_value, behind, halos[rank][behind]);
}

// The same the other way round, for their gradients.
void return_gradients(const Halos& halos, int rank, int distance, Step& step) {
  const int n = static_cast<int>(halos.size());
  const int ahead = (rank + distance) % n, behind = (rank - distance + n) % n;
  append_rows(step.sends, behind, Payload::key_value_gradient, behind, halos[rank][behind]);
  append_rows(step.receives, ahead, Payload::key_value_gradient, rank, halos[ahead][rank]);
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
  ExchangePlan plan{rank, n, {}};
  for (int i = 0; i <= n; ++i) {
    const bool fetches = any(i + 1), tasks = i == 0 || any(i), returns = backward && any(i - 1);
    if (!fetches && !tasks && !returns) continue;
    Step step;
    step.communicates = fetches || returns;
    if (fetches) exchange_halos(halos, rank, i + 1, step);
    if (returns) return_gradients(halos, rank, i - 1, step);
    if (tasks) step.tasks = tasks_of[static_cast<std::size_t>((rank - i + n) % n)];
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

}  // namespace

RankPlan plan_p2p(const PlanRequest& request, int rank) {
  const int ranks = request.layout.ranks();
  if (internal::is_dense(request))
    return {ring_forward(request, rank), ring_backward(request, rank), (rank + 1) % ranks};
  const Halos halos = halos_of(request);
  TasksByOwner tasks;
  for (int owner = 0; owner < ranks; ++owner) tasks.push_back(tasks_between(request, rank, owner));
  return {halo_plan(halos, tasks, rank, false), halo_plan(halos, tasks, rank, true), rank};
}

}  // namespace ringtron
