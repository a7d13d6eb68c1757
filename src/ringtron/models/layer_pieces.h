// Which layers are run together, and what of them is computed again in backward: the recompute flags as
// integers.
#pragma once

#include <vector>

#include "ringtron/config/config.h"

namespace ringtron {

// Layers [first, first + count).
struct LayerPiece {
  int first = 0;
  int count = 0;
  bool recomputed = false;            // as a whole: the input of the first layer is all that is kept
  bool recomputes_attention = false;  // as part of it, or by itself

  bool operator==(const LayerPiece&) const = default;
};

// All layers in order, by --recompute-granularity, -method and -num-layers; `recompute` is resolved.
std::vector<LayerPiece> layer_pieces(const RecomputeConfig& recompute, int layers);

}  // namespace ringtron
