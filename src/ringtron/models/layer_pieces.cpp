#include "ringtron/models/layer_pieces.h"

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {

std::vector<LayerPiece> layer_pieces(const RecomputeConfig& recompute, int layers) {
  const bool full = recompute.granularity == RecomputeGranularity::full;
  const bool selective = recompute.granularity == RecomputeGranularity::selective;
  if (!full) return {{0, layers, false, selective}};
  RT_CHECK(recompute.num_layers >= 1, "recomputation of whole layers wants a number of layers");
  std::vector<LayerPiece> pieces;
  const bool block = recompute.method == RecomputeMethod::block;
  const int end = block ? std::min(recompute.num_layers, layers) : layers;
  const int length = block ? 1 : recompute.num_layers;
  for (int first = 0; first < end; first += length)
    pieces.push_back({first, std::min(length, end - first), true, true});
  if (end < layers) pieces.push_back({end, layers - end, false, false});
  return pieces;
}

}  // namespace ringtron
