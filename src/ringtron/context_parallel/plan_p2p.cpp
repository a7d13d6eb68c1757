// The ring strategy (p2p) as a list of steps: whole blocks that go round, or halos straight from their owners.
#include <algorithm>
#include <utility>

#include "ringtron/context_parallel/exchange_plan.h"
#include "ringtron/context_parallel/plan_parts.h"

namespace ringtron {
namespace {

using internal::append_block;
using internal::attends_between;

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
    step.attends = attends_between(request, rank, owner);
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
    step.attends = attends_between(request, rank, owner);
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

// Rows of the block of `owner` that queries of `rank` see.
std::vector<PositionRange> rows_needed(const PlanRequest& request, int rank, int owner) {
  std::vector<PositionRange> needed;
  for (const internal::StoredRange& keys : internal::stored_ranges(request.layout, owner)) {
    PositionRange span{keys.positions.end, keys.positions.begin};
    for (const PositionRange& queries : request.layout.of(rank)) {
      for (const AttentionMask& mask : request.masks) {
        const PositionRange part = mask.keys_needed(queries, keys.positions);
        if (part.empty()) continue;
        span = {std::min(span.begin, part.begin), std::max(span.end, part.end)};
      }
    }
    if (span.empty()) continue;
    const PositionRange rows = keys.rows_of(span);
    // One message for rows that touch, since one attend may cover both.
    if (!needed.empty() && needed.back().end == rows.begin) {
      needed.back().end = rows.end;
    } else {
      needed.push_back(rows);
    }
  }
  return needed;
}

// What every rank needs of every other: [rank][owner].
using Halos = std::vector<std::vector<std::vector<PositionRange>>>;

Halos halos_of(const PlanRequest& request) {
  const int n = request.layout.ranks();
  Halos halos(static_cast<std::size_t>(n), Halos::value_type(static_cast<std::size_t>(n)));
  for (int rank = 0; rank < n; ++rank) {
    for (int owner = 0; owner < n; ++owner) {
      if (owner != rank) halos[rank][owner] = rows_needed(request, rank, owner);
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

ExchangePlan halo_plan(const PlanRequest& request, const Halos& halos, int rank, bool backward) {
  const int n = request.layout.ranks();
  const auto any = [&](int distance) { return distance > 0 && distance < n && any_halo(halos, distance); };
  ExchangePlan plan{rank, n, {}};
  for (int i = 0; i <= n; ++i) {
    const bool fetches = any(i + 1), attends = i == 0 || any(i), returns = backward && any(i - 1);
    if (!fetches && !attends && !returns) continue;
    Step step;
    step.communicates = fetches || returns;
    if (fetches) exchange_halos(halos, rank, i + 1, step);
    if (returns) return_gradients(halos, rank, i - 1, step);
    if (attends) step.attends = attends_between(request, rank, (rank - i + n) % n);
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

}  // namespace

bool keeps_last_block(const PlanRequest& request) { return internal::is_dense(request) && request.layout.ranks() > 1; }

PlanOfRank plan_p2p(const PlanRequest& request, int rank) {
  if (internal::is_dense(request)) return {ring_forward(request, rank), ring_backward(request, rank)};
  const Halos halos = halos_of(request);
  return {halo_plan(request, halos, rank, false), halo_plan(request, halos, rank, true)};
}

}  // namespace ringtron
