#include "ringtron/models/layer_pieces.h"

namespace ringtron {

std::vector<LayerPiece> layer_pieces(std::span<const LayerSpec> layers) {
  std::vector<LayerPiece> pieces;
  for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
    const LayerSpec& layer = layers[static_cast<std::size_t>(i)];
    const bool recomputed = layer.recompute == LayerRecompute::whole;
    const bool joins =
        !pieces.empty() && pieces.back().recomputed == recomputed && (!recomputed || layer.joins_previous);
    if (joins) {
      ++pieces.back().count;
    } else {
      pieces.push_back({i, 1, recomputed});
    }
  }
  return pieces;
}

}  // namespace ringtron
