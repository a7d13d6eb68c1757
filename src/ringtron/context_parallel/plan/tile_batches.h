// The attends of a step in batches: many tiles, a few calls of a kernel that computes many tiles at once.
//
// Documents cut a block into many small tiles. Those that touch neither the same queries nor the same keys of a sample
// can be computed by one call, since each row of out, dq, dk and dv is then written by one tile. A function of the plan
// alone, so that the order of merges stays one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron {

// Rows of the batch's `cover`, counted from its first.
struct Tile {
  int sample = kEverySample;
  PositionRange q;
  PositionRange kv;
  bool operator==(const Tile&) const = default;
};

// Tiles of one owner's block, of rows that came in one message (or of a block that came in none). No two tiles of a
// sample share a row of queries or of keys, and none is empty.
struct TileBatch {
  Attend cover;         // from the first to the last row that a tile reads, every sample; its band says nothing
  bool causal = false;  // all tiles are causal squares; otherwise every cell of every tile is seen
  std::vector<Tile> tiles;

  // That are seen, over all samples.
  std::int64_t cells(std::int64_t samples) const;
};

// What to do in place of Step::attends: first the batches, then the rest, each in this order.
struct StepTiles {
  std::vector<std::shared_ptr<const TileBatch>> batches;  // shared, so that what is kept for one can tell that it is gone
  std::vector<Attend> rest;                               // attends with a left bound (windows) or of a part of the heads
};

// One for each step of the plan. A triangle that is no square is cut into a square and rectangles.
std::vector<StepTiles> tile_batches(const ExchangePlan& plan);

// Of both passes.
struct PlanTiles {
  std::vector<StepTiles> forward, backward;
};

}  // namespace ringtron
