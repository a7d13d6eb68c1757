// Which layers of a stage are run together, and which segments are computed again in backward.
#pragma once

#include <span>
#include <vector>

#include "ringtron/modules/layer_spec.h"

namespace ringtron {

// Layers [first, first + count) of the list.
struct RecomputeSegment {
  int first = 0;
  int count = 0;
  bool recomputed = false;  // as a whole: the input of the first layer is all that is kept

  bool operator==(const RecomputeSegment&) const = default;
};

// All layers in order. A layer that is not recomputed as a whole shares its segment with its neighbours.
std::vector<RecomputeSegment> recompute_segments(std::span<const LayerSpec> layers);

}  // namespace ringtron
