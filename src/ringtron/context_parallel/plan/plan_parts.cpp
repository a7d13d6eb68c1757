#include "ringtron/context_parallel/plan/plan_parts.h"

#include <algorithm>
#include <utility>

namespace ringtron::internal {
namespace {

// Makes b part of a, if they are neighbours along the given side and the same on the other.
bool join(Attend& a, const Attend& b, PositionRange Attend::* along, PositionRange Attend::* other) {
  const bool neighbours = a.sample == b.sample && a.owner == b.owner && a.heads == b.heads && a.*other == b.*other &&
                          (a.*along).end == (b.*along).begin && a.band.is_all() && b.band.is_all();
  if (neighbours) (a.*along).end = (b.*along).end;
  return neighbours;
}

std::vector<Attend> joined_along(const std::vector<Attend>& attends, PositionRange Attend::* along,
                                 PositionRange Attend::* other) {
  std::vector<Attend> result;
  for (const Attend& attend : attends) {
    if (result.empty() || !join(result.back(), attend, along, other)) result.push_back(attend);
  }
  return result;
}

// From the first key that one of the queries sees in some sample to the last.
PositionRange keys_in_reach(const PlanRequest& request, const PositionRange& queries) {
  PositionRange reach = queries;
  for (const AttentionMask& mask : request.masks) {
    reach.begin = std::min(reach.begin, mask.keys_of(queries.begin).begin);
    reach.end = std::max(reach.end, mask.keys_of(queries.end - 1).end);
  }
  return reach;
}

}  // namespace

std::vector<StoredRange> stored_ranges(const SequenceLayout& layout, int rank) {
  std::vector<StoredRange> stored;
  std::int64_t row = 0;
  for (const PositionRange& range : layout.of(rank)) {
    stored.push_back({range, row});
    row += range.length();
  }
  return stored;
}

void append_attends(const PlanRequest& request, const StoredRange& queries, int owner, const StoredRange& keys,
                    std::vector<Attend>& attends) {
  for (std::size_t i = 0; i < request.masks.size(); ++i) {
    const int sample = request.masks.size() == 1 ? kEverySample : static_cast<int>(i);
    for (const MaskTile& tile : request.masks[i].tiles(queries.positions, keys.positions)) {
      attends.push_back({queries.rows_of(tile.queries), owner, keys.rows_of(tile.keys), tile.band, sample});
    }
  }
}

void append_attends_in_reach(const PlanRequest& request, const StoredRange& queries, int owner,
                             const std::vector<StoredRange>& keys, std::vector<Attend>& attends) {
  const PositionRange reach = keys_in_reach(request, queries.positions);
  auto range = std::partition_point(keys.begin(), keys.end(),
                                    [&](const StoredRange& k) { return k.positions.end <= reach.begin; });
  for (; range != keys.end() && range->positions.begin < reach.end; ++range) {
    append_attends(request, queries, owner, *range, attends);
  }
}

std::vector<Attend> joined(std::vector<Attend> attends) {
  attends = joined_along(attends, &Attend::kv, &Attend::q);
  return joined_along(attends, &Attend::q, &Attend::kv);
}

std::vector<Attend> attends_between(const PlanRequest& request, int rank, int owner) {
  const std::int64_t local = request.layout.local_length(rank);
  if (owner == rank && is_dense(request) && request.masks.front().causal()) {
    // A rank's own rows form one causal square although there are gaps between them: order is all that counts.
    if (local == 0) return {};
    return {{{0, local}, owner, {0, local}, local == 1 ? Band::all() : Band::causal(), kEverySample}};
  }
  std::vector<Attend> attends;
  const std::vector<StoredRange> keys = stored_ranges(request.layout, owner);
  for (const StoredRange& queries : stored_ranges(request.layout, rank)) {
    append_attends_in_reach(request, queries, owner, keys, attends);
  }
  return joined(std::move(attends));
}

std::vector<Attend> of_heads(std::vector<Attend> attends, HeadPart heads) {
  for (Attend& attend : attends) attend.heads = heads;
  return attends;
}

bool is_dense(const PlanRequest& request) { return request.masks.size() == 1 && request.masks.front().dense(); }

void append_block(std::vector<Message>& messages, int peer, Payload payload, int owner, const SequenceLayout& layout) {
  const PositionRange rows{0, layout.local_length(owner)};
  if (!rows.empty()) messages.push_back({peer, payload, owner, rows});
}

}  // namespace ringtron::internal
