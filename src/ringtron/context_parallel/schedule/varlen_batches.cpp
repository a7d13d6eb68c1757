#include "ringtron/context_parallel/schedule/varlen_batches.h"

#include <algorithm>
#include <map>
#include <utility>

namespace ringtron {
namespace {

// One tile, rows as a launch has them.
struct Part {
  VarlenTile tile;
  bool causal = false;
  // A cell alone is a causal square too, so it goes into either kind of batch.
  bool single() const { return tile.q.length() == 1 && tile.kv.length() == 1; }
};

PositionRange first_rows(const PositionRange& range, std::int64_t rows) { return {range.begin, range.begin + rows}; }
PositionRange without_first(const PositionRange& range, std::int64_t rows) { return {range.begin + rows, range.end}; }

// A launch without a left bound as full rectangles and at most one causal square.
std::vector<Part> parts_of(const Launch& launch) {
  const auto part = [&](const PositionRange& q, const PositionRange& kv, bool causal) {
    return Part{{launch.sample, q, kv}, causal};
  };
  if (launch.band.right == Band::kUnbounded) return {part(launch.q, launch.kv, false)};
  std::vector<Part> parts;
  // Row i sees keys 0..i+right: rows before -right see none, all others the first `right` of them.
  const std::int64_t blind = std::max<std::int64_t>(0, -launch.band.right);
  if (blind >= launch.q.length()) return parts;
  const PositionRange q = without_first(launch.q, blind);
  const std::int64_t seen_by_all = std::min(launch.band.right + blind, launch.kv.length());
  if (seen_by_all > 0) parts.push_back(part(q, first_rows(launch.kv, seen_by_all), false));
  const PositionRange kv = without_first(launch.kv, seen_by_all);
  const std::int64_t square = std::min(q.length(), kv.length());
  if (square == 0) return parts;
  parts.push_back(part(first_rows(q, square), first_rows(kv, square), true));
  // Below the square; keys to its right nobody sees.
  if (q.length() > square) parts.push_back(part(without_first(q, square), first_rows(kv, square), false));
  return parts;
}

// Rows that are taken, by sample.
class TakenRows {
 public:
  bool free(int sample, const PositionRange& rows) const {
    return std::all_of(taken_.begin(), taken_.end(), [&](const auto& entry) {
      if (sample != kAllSamples && entry.first != kAllSamples && entry.first != sample) return true;
      const auto next = entry.second.lower_bound(rows.begin);
      if (next != entry.second.end() && next->first < rows.end) return false;
      return next == entry.second.begin() || std::prev(next)->second <= rows.begin;
    });
  }
  void take(int sample, const PositionRange& rows) { taken_[sample].emplace(rows.begin, rows.end); }

 private:
  std::map<int, std::map<std::int64_t, std::int64_t>> taken_;  // sample -> begin -> end
};

// A batch's results are of all rows from its first to its last. To write and to add up this many that no tile has costs
// about as much as another call.
constexpr std::int64_t kWidestGap = 4096;

bool near(const PositionRange& whole, const PositionRange& rows) {
  return whole.empty() || (rows.begin <= whole.end + kWidestGap && whole.begin <= rows.end + kWidestGap);
}

void widen(PositionRange& whole, const PositionRange& rows) {
  whole = whole.empty() ? rows : PositionRange{std::min(whole.begin, rows.begin), std::max(whole.end, rows.end)};
}

// A batch that still grows.
struct OpenBatch {
  Launch whole;  // so far
  bool causal;
  std::vector<VarlenTile> tiles = {};
  TakenRows q = {}, kv = {};

  bool fits(const Part& part) const {
    const VarlenTile& tile = part.tile;
    return (part.causal == causal || part.single()) && near(whole.q, tile.q) && near(whole.kv, tile.kv) &&
           q.free(tile.sample, tile.q) && kv.free(tile.sample, tile.kv);
  }
  void add(const VarlenTile& tile) {
    tiles.push_back(tile);
    widen(whole.q, tile.q);
    widen(whole.kv, tile.kv);
    q.take(tile.sample, tile.q);
    kv.take(tile.sample, tile.kv);
  }
};

PositionRange moved(const PositionRange& range, std::int64_t by) { return {range.begin + by, range.end + by}; }

Launch closed(OpenBatch open) {
  auto batch = std::make_shared<VarlenBatch>();
  batch->causal = open.causal;
  for (VarlenTile& tile : open.tiles) {
    tile.q = moved(tile.q, -open.whole.q.begin);
    tile.kv = moved(tile.kv, -open.whole.kv.begin);
  }
  batch->tiles = std::move(open.tiles);
  open.whole.batch = std::move(batch);
  return open.whole;
}

bool comes_in_tiles(const Launch& launch) { return launch.band.left == Band::kUnbounded; }

}  // namespace

std::int64_t VarlenBatch::cells(std::int64_t samples) const {
  std::int64_t sum = 0;
  for (const VarlenTile& tile : tiles) {
    const Band band = causal ? Band::causal() : Band::all();
    sum += band.area(tile.q.length(), tile.kv.length()) * (tile.sample == kAllSamples ? samples : 1);
  }
  return sum;
}

std::vector<Launch> batched(const std::vector<Launch>& launches) {
  std::vector<OpenBatch> open;
  const auto place = [&](const Launch& launch, const Part& part) {
    auto batch = std::find_if(open.begin(), open.end(), [&](const OpenBatch& candidate) {
      return candidate.whole.buffer == launch.buffer && candidate.fits(part);
    });
    if (batch == open.end())
      batch = open.insert(open.end(), OpenBatch{{{}, launch.buffer, {}, {}, kAllSamples, nullptr}, part.causal});
    batch->add(part.tile);
  };
  // Cells alone come last, when there are batches of both kinds to take them.
  for (const bool single : {false, true}) {
    for (const Launch& launch : launches) {
      if (!comes_in_tiles(launch)) continue;
      for (const Part& part : parts_of(launch)) {
        if (part.single() == single && !part.tile.q.empty() && !part.tile.kv.empty()) place(launch, part);
      }
    }
  }
  std::vector<Launch> result;
  for (OpenBatch& batch : open) result.push_back(closed(std::move(batch)));
  for (const Launch& launch : launches) {
    if (!comes_in_tiles(launch)) result.push_back(launch);
  }
  return result;
}

}  // namespace ringtron
