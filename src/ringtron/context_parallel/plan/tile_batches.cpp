#include "ringtron/context_parallel/plan/tile_batches.h"

#include <algorithm>
#include <map>
#include <optional>

namespace ringtron {
namespace {

// One tile, rows as an attend has them.
struct Part {
  Tile tile;
  bool causal = false;
  // A cell alone is a causal square too, so it goes into either kind of batch.
  bool single() const { return tile.q.length() == 1 && tile.kv.length() == 1; }
};

PositionRange first_rows(const PositionRange& range, std::int64_t rows) { return {range.begin, range.begin + rows}; }
PositionRange without_first(const PositionRange& range, std::int64_t rows) { return {range.begin + rows, range.end}; }

// An attend without a left bound as full rectangles and at most one causal square.
std::vector<Part> parts_of(const Attend& attend) {
  const auto part = [&](const PositionRange& q, const PositionRange& kv, bool causal) {
    return Part{{attend.sample, q, kv}, causal};
  };
  if (attend.band.right == Band::kUnbounded) return {part(attend.q, attend.kv, false)};
  std::vector<Part> parts;
  // Row i sees keys 0..i+right: rows before -right see none, all others the first `right` of them.
  const std::int64_t blind = std::max<std::int64_t>(0, -attend.band.right);
  if (blind >= attend.q.length()) return parts;
  const PositionRange q = without_first(attend.q, blind);
  const std::int64_t seen_by_all = std::min(attend.band.right + blind, attend.kv.length());
  if (seen_by_all > 0) parts.push_back(part(q, first_rows(attend.kv, seen_by_all), false));
  const PositionRange kv = without_first(attend.kv, seen_by_all);
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
      if (sample != kEverySample && entry.first != kEverySample && entry.first != sample) return true;
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
  Attend cover;
  std::optional<PositionRange> piece;
  bool causal;
  std::vector<Tile> tiles = {};
  TakenRows q = {}, kv = {};

  bool fits(const Part& part) const {
    const Tile& tile = part.tile;
    return (part.causal == causal || part.single()) && near(cover.q, tile.q) && near(cover.kv, tile.kv) &&
           q.free(tile.sample, tile.q) && kv.free(tile.sample, tile.kv);
  }
  void add(const Tile& tile) {
    tiles.push_back(tile);
    widen(cover.q, tile.q);
    widen(cover.kv, tile.kv);
    q.take(tile.sample, tile.q);
    kv.take(tile.sample, tile.kv);
  }
};

PositionRange moved(const PositionRange& range, std::int64_t by) { return {range.begin + by, range.end + by}; }

std::shared_ptr<const TileBatch> closed(OpenBatch open) {
  auto batch = std::make_shared<TileBatch>();
  batch->causal = open.causal;
  batch->cover = open.cover;
  for (Tile& tile : open.tiles) {
    tile.q = moved(tile.q, -batch->cover.q.begin);
    tile.kv = moved(tile.kv, -batch->cover.kv.begin);
  }
  batch->tiles = std::move(open.tiles);
  return batch;
}

// The message before this step that brought these keys; none where they came in none.
std::optional<PositionRange> piece_of(const ExchangePlan& plan, std::size_t step, const Attend& attend) {
  for (std::size_t i = 0; i < step; ++i) {
    for (const Message& message : plan.steps[i].receives) {
      if (message.payload == Payload::key_value && message.owner == attend.owner &&
          message.rows.begin <= attend.kv.begin && attend.kv.end <= message.rows.end) {
        return message.rows;
      }
    }
  }
  return {};
}

bool comes_in_tiles(const Attend& attend) {
  return attend.band.left == Band::kUnbounded && attend.heads == HeadPart::all;
}

StepTiles batches_of_step(const ExchangePlan& plan, std::size_t step) {
  StepTiles result;
  std::vector<OpenBatch> open;
  const auto place = [&](const Attend& attend, const Part& part, const std::optional<PositionRange>& piece) {
    auto batch = std::find_if(open.begin(), open.end(), [&](const OpenBatch& candidate) {
      return candidate.cover.owner == attend.owner && candidate.piece == piece && candidate.fits(part);
    });
    if (batch == open.end()) {
      batch = open.insert(open.end(), OpenBatch{{{}, attend.owner, {}, {}, kEverySample}, piece, part.causal});
    }
    batch->add(part.tile);
  };
  // Cells alone come last, when there are batches of both kinds to take them.
  for (const bool single : {false, true}) {
    for (const Attend& attend : plan.steps[step].attends) {
      if (!comes_in_tiles(attend)) continue;
      std::optional<PositionRange> piece = piece_of(plan, step, attend);
      for (const Part& part : parts_of(attend)) {
        if (part.single() == single && !part.tile.q.empty() && !part.tile.kv.empty()) place(attend, part, piece);
      }
    }
  }
  for (OpenBatch& batch : open) result.batches.push_back(closed(std::move(batch)));
  for (const Attend& attend : plan.steps[step].attends) {
    if (!comes_in_tiles(attend)) result.rest.push_back(attend);
  }
  return result;
}

}  // namespace

std::int64_t TileBatch::cells(std::int64_t samples) const {
  std::int64_t sum = 0;
  for (const Tile& tile : tiles) {
    const Band band = causal ? Band::causal() : Band::all();
    sum += band.area(tile.q.length(), tile.kv.length()) * (tile.sample == kEverySample ? samples : 1);
  }
  return sum;
}

std::vector<StepTiles> tile_batches(const ExchangePlan& plan) {
  std::vector<StepTiles> steps;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) steps.push_back(batches_of_step(plan, i));
  return steps;
}

}  // namespace ringtron
