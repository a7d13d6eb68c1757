#include "ringtron/models/activation_bytes.h"

#include <algorithm>
#include <limits>

#include "ringtron/models/model_spec.h"
#include "ringtron/models/recompute_segments.h"
#include "ringtron/models/state_bytes.h"

namespace ringtron {
namespace {

// Of absurd sizes the largest sum that more can be added to.
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;

std::int64_t times(std::int64_t count, std::int64_t bytes) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(count, bytes, &product) ? kMost : std::min(product, kMost);
}

std::int64_t plus(std::int64_t a, std::int64_t b) { return std::min(a + b, kMost); }

KindBytes& of_kind(std::vector<KindBytes>& kinds, LayerKind kind) {
  const auto found = std::ranges::find(kinds, kind, &KindBytes::kind);
  return found != kinds.end() ? *found : kinds.emplace_back(KindBytes{.kind = kind});
}

}  // namespace

ActivationBytes activation_bytes(const ResolvedConfig& config, std::int64_t rows) {
  const ModelSpec model = model_spec(config);
  const RankSizes sizes = rank_sizes(config);
  const std::int64_t tokens = rows * config->batch.micro_batch_size;
  // What a recomputed segment keeps: the residual stream.
  const std::int64_t stream =
      model.embedding.hidden / (model.embedding.sequence_parallel ? sizes.tensor_ranks : 1) * sizes.element_bytes;
  ActivationBytes bytes;
  for (const RecomputeSegment& segment : recompute_segments(model.layers)) {
    std::int64_t inside = 0;
    for (int i = segment.first; i < segment.first + segment.count; ++i) {
      const LayerSpec& layer = model.layers[static_cast<std::size_t>(i)];
      const ModuleCosts costs = layer_costs(model, layer, sizes);
      KindBytes& kind = of_kind(bytes.kinds, layer.kind);
      kind.layers.push_back(layer.number);
      kind.kept = times(tokens, costs.kept_bytes);
      kind.statistic = times(tokens, costs.statistic_bytes);
      inside = plus(inside, kind.kept - (layer.recompute == LayerRecompute::core_attention ? kind.statistic : 0));
    }
    bytes.layers = plus(bytes.layers, segment.recomputed ? times(tokens, stream) : inside);
    if (segment.recomputed) bytes.segment = std::max(bytes.segment, inside);
  }
  const ModuleCosts output = costs_of(model.output, sizes);
  bytes.ends = times(tokens, output.kept_bytes);
  // At least one position of all samples.
  bytes.loss = std::min(times(tokens, output.passing_bytes),
                        std::max(kMostLogitBytes, times(config->batch.micro_batch_size, output.passing_bytes)));
  return bytes;
}

}  // namespace ringtron
