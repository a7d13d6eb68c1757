#include "ringtron/context_parallel/plan/block_tasks.h"

#include <algorithm>
#include <utility>

namespace ringtron {
namespace internal {
namespace {

// Makes b part of a, if they are neighbours along the given side and the same on the other.
bool join(BlockTask& a, const BlockTask& b, PositionRange BlockTask::* along, PositionRange BlockTask::* other) {
  const bool neighbours = a.sample == b.sample && a.owner == b.owner && a.*other == b.*other &&
                          (a.*along).end == (b.*along).begin && a.band.is_all() && b.band.is_all();
  if (neighbours) (a.*along).end = (b.*along).end;
  return neighbours;
}

std::vector<BlockTask> joined_along(const std::vector<BlockTask>& tasks, PositionRange BlockTask::* along,
                                    PositionRange BlockTask::* other) {
  std::vector<BlockTask> result;
  for (const BlockTask& task : tasks) {
    if (result.empty() || !join(result.back(), task, along, other)) result.push_back(task);
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

void append_tasks(const PlanRequest& request, const StoredRange& queries, int owner,
                  const std::vector<StoredRange>& keys, std::vector<BlockTask>& tasks) {
  const PositionRange reach = keys_in_reach(request, queries.positions);
  auto range = std::partition_point(keys.begin(), keys.end(),
                                    [&](const StoredRange& k) { return k.positions.end <= reach.begin; });
  for (; range != keys.end() && range->positions.begin < reach.end; ++range) {
    for (std::size_t i = 0; i < request.masks.size(); ++i) {
      const int sample = request.masks.size() == 1 ? kAllSamples : static_cast<int>(i);
      for (const MaskTile& tile : request.masks[i].tiles(queries.positions, range->positions)) {
        tasks.push_back({queries.rows_of(tile.queries), owner, range->rows_of(tile.keys), tile.band, sample});
      }
    }
  }
}

std::vector<BlockTask> joined(std::vector<BlockTask> tasks) {
  tasks = joined_along(tasks, &BlockTask::kv, &BlockTask::q);
  return joined_along(tasks, &BlockTask::q, &BlockTask::kv);
}

bool is_dense(const PlanRequest& request) { return request.masks.size() == 1 && request.masks.front().dense(); }

}  // namespace internal

std::vector<BlockTask> tasks_between(const PlanRequest& request, int rank, int owner) {
  using namespace internal;
  const std::int64_t local = request.layout.local_length(rank);
  if (owner == rank && is_dense(request) && request.masks.front().causal()) {
    // A rank's own rows form one causal square although there are gaps between them: order is all that counts.
    if (local == 0) return {};
    return {{{0, local}, owner, {0, local}, local == 1 ? Band::all() : Band::causal(), kAllSamples}};
  }
  std::vector<BlockTask> tasks;
  const std::vector<StoredRange> keys = stored_ranges(request.layout.of(owner));
  for (const StoredRange& queries : stored_ranges(request.layout.of(rank))) {
    append_tasks(request, queries, owner, keys, tasks);
  }
  return joined(std::move(tasks));
}

void append_block(std::vector<Message>& messages, int peer, Payload payload, int owner, const SequenceLayout& layout) {
  const PositionRange rows{0, layout.local_length(owner)};
  if (!rows.empty()) messages.push_back({peer, payload, owner, rows});
}

}  // namespace ringtron
