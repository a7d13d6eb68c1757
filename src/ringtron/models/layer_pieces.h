// Which layers of a stage are run together, and which pieces are computed again in backward.
#pragma once

#include <span>
#include <vector>

#include "ringtron/modules/layer_spec.h"

namespace ringtron {

// Layers [first, first + count) of the list.
struct LayerPiece {
  int first = 0;
  int count = 0;
  bool recomputed = false;  // as a whole: the input of the first layer is all that is kept

  bool operator==(const LayerPiece&) const = default;
};

// All layers in order. A layer that is not recomputed as a whole shares its piece with its neighbours.
std::vector<LayerPiece> layer_pieces(std::span<const LayerSpec> layers);

}  // namespace ringtron
