// What must hold at the end of the simulation.
#include <algorithm>

#include "ringtron/context_parallel/schedule/schedule_simulator.h"
#include "ringtron/context_parallel/schedule/simulator_rows.h"
#include "ringtron/context_parallel/schedule/varlen_batches.h"

namespace ringtron {
using internal::rows_exist;
using internal::rows_of;
using internal::text_of;
namespace {

// Whether the ranges, in any order, are exactly the positions of `expected`, each once.
bool tile_exactly(std::vector<PositionRange>& ranges, const PositionRange& expected) {
  std::ranges::sort(ranges, {}, &PositionRange::begin);
  std::int64_t at = expected.begin;
  for (const PositionRange& range : ranges) {
    if (range.begin != at) return false;
    at = range.end;
  }
  return at == expected.end;
}

}  // namespace

void ScheduleSimulator::end(RankState& state) {
  const Schedule& schedule = *state.schedule;
  for (std::size_t i = 0; i < state.launches.size(); ++i) {
    if (state.launches[i].merges != 1) fault(state, "merges launch {} {} times", i, state.launches[i].merges);
  }
  for (std::size_t i = 0; i < state.exchanges.size(); ++i) {
    if (!state.exchanges[i].waited) fault(state, "does not wait for exchange {}", i);
  }
  if (schedule.heads.size() > 1) {
    const auto is = [](const Operation& operation, bool to_heads) {
      const auto* heads = std::get_if<HeadExchange>(&operation.what);
      return heads != nullptr && heads->to_heads == to_heads;
    };
    if (schedule.operations.size() < 2 || !is(schedule.operations.front(), true) ||
        !is(schedule.operations.back(), false)) {
      fault(state, "does not exchange heads before and after all else");
    }
  }
  const PeakRows& most = state.most_held;
  if (most.key_value > schedule.peak.key_value || most.gradient > schedule.peak.gradient) {
    fault(state, "holds up to {} rows of others and {} of gradients, and promises {} and {}", most.key_value,
          most.gradient, schedule.peak.key_value, schedule.peak.gradient);
  }
  if (backward()) return;
  if (BufferState* saved = use(state, schedule.saved, {}, Payload::key_value, "saves")) {
    read(state, *saved, {0, std::ssize(saved->positions)}, "saves");
  }
}

void ScheduleSimulator::mark_cells(int rank, const Launch& launch, std::span<const std::int64_t> keys) {
  if (!launch.batch) return mark_block(rank, launch.sample, launch.q, launch.band, keys);
  const Band band = launch.batch->causal ? Band::causal() : Band::all();
  for (const VarlenTile& tile : launch.batch->tiles) {
    if (!rows_exist(tile.q, launch.q.length()) || !rows_exist(tile.kv, launch.kv.length()))
      continue;  // see check_tiles
    mark_block(rank, tile.sample, {launch.q.begin + tile.q.begin, launch.q.begin + tile.q.end}, band,
               keys.subspan(static_cast<std::size_t>(tile.kv.begin), static_cast<std::size_t>(tile.kv.length())));
  }
}

void ScheduleSimulator::mark_block(int rank, int sample, const PositionRange& q, const Band& band,
                                   std::span<const std::int64_t> keys) {
  const std::vector<PositionRange> runs = ranges_of(keys);
  std::int64_t i = 0;
  for (const PositionRange& range : slice_ranges(layout_.of(rank), q.begin, q.length())) {
    for (std::int64_t query = range.begin; query < range.end; ++query, ++i) {
      const PositionRange row = band.row(i, std::ssize(keys));
      for (const PositionRange& seen : slice_ranges(runs, row.begin, row.length())) {
        for (std::size_t mask = 0; mask < masks_.size(); ++mask) {
          if (sample != kAllSamples && sample != static_cast<int>(mask)) continue;
          seen_[mask][static_cast<std::size_t>(query)].push_back(seen);
        }
      }
    }
  }
}

void ScheduleSimulator::check_cells() {
  for (std::size_t mask = 0; mask < masks_.size(); ++mask) {
    for (std::int64_t query = 0; query < layout_.sequence_length(); ++query) {
      const PositionRange expected = masks_[mask].keys_of(query);
      std::vector<PositionRange>& seen = seen_[mask][static_cast<std::size_t>(query)];
      if (tile_exactly(seen, expected)) continue;
      faults_.add("{}: query {} of sample {}: expected keys {}, got{}", pass_name(), query, mask, text_of(expected),
                  text_of(seen));
    }
  }
}

void ScheduleSimulator::check_gradients() {
  for (RankState& state : ranks_) {
    const int result = state.schedule->result;
    const std::int64_t local = layout_.local_length(state.rank);
    BufferState* sums = use(state, result, {0, local}, Payload::key_value_gradient, "ends with");
    if (sums == nullptr) continue;
    read(state, *sums, {0, local}, "ends with");
    std::size_t row = 0;
    for (const PositionRange& range : layout_.of(state.rank)) {
      for (std::int64_t p = range.begin; p < range.end; ++p, ++row) {
        std::vector<int>& got = sums->launches[row];
        std::sort(got.begin(), got.end());  // launches_of_ ascends
        const std::vector<int>& expected = launches_of_[static_cast<std::size_t>(p)];
        if (sums->positions[row] == p && got == expected) continue;
        faults_.add("backward: rank {}, gradient of position {}: expected the parts of launches {}, got {}",
                    name(state.rank), p, fmt::join(expected, " "), fmt::join(got, " "));
      }
    }
  }
}

}  // namespace ringtron
