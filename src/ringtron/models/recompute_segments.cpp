#include "ringtron/models/recompute_segments.h"

namespace ringtron {

std::vector<RecomputeSegment> recompute_segments(std::span<const LayerSpec> layers) {
  std::vector<RecomputeSegment> segments;
  for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
    const LayerSpec& layer = layers[static_cast<std::size_t>(i)];
    const bool recomputed = layer.recompute == LayerRecompute::whole;
    const bool joins =
        !segments.empty() && segments.back().recomputed == recomputed && (!recomputed || layer.joins_previous);
    if (joins) {
      ++segments.back().count;
    } else {
      segments.push_back({i, 1, recomputed});
    }
  }
  return segments;
}

}  // namespace ringtron
