// Packed sequences (documents; cu_seqlens, THD): the launches of a step in batches, many tiles in a few calls of a
// variable-length kernel.
//
// Documents cut a block into many small tiles. Those that touch neither the same queries nor the same keys of a sample
// can be computed by one call, since each row of out, dq, dk and dv is then written by one tile. A function of the
// launches alone, so that the order of merges stays one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron {

// Rows counted from the first of the launch's.
struct VarlenTile {
  int sample = kAllSamples;
  PositionRange q;
  PositionRange kv;
  bool operator==(const VarlenTile&) const = default;
};

// No two tiles of a sample share a row of queries or of keys, and none is empty. Its launch reads from the first to the
// last row that a tile reads, of every sample.
struct VarlenBatch {
  bool causal = false;  // all tiles are causal squares; otherwise every cell of every tile is seen
  std::vector<VarlenTile> tiles;

  // That are seen, over all samples.
  std::int64_t cells(std::int64_t samples) const;
};

// What to launch in place of these, which are single blocks: first the batches, then those that have a left bound
// (windows), each in this order. A triangle that is no square is cut into a square and rectangles. Both lists compute
// the same cells.
std::vector<Launch> batched(const std::vector<Launch>& launches);

}  // namespace ringtron
