#include "ringtron/models/activation_bytes.h"

#include <algorithm>
#include <limits>

#include "ringtron/models/layer_pieces.h"

namespace ringtron {
namespace {

// Bytes of an element of the model, and of a log-sum-exp or a statistic of a norm.
struct Widths {
  std::int64_t model, statistic;
};

Widths widths_of(const PrecisionConfig& precision) {
  if (precision.fp64) return {8, 8};
  return {precision.bf16 ? 2 : 4, 4};
}

// Of absurd sizes the largest sum that more can be added to.
std::int64_t times(std::int64_t count, std::int64_t bytes) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;
  std::int64_t product = 0;
  return __builtin_mul_overflow(count, bytes, &product) ? kMost : std::min(product, kMost);
}

// The residual stream, per token.
std::int64_t stream(const Config& config) {
  return config.model.hidden_size / (config.parallel.sequence_parallel ? config.parallel.tensor_model_parallel_size : 1);
}

// Per token: LayerNorm keeps its input and output. RMSNorm keeps the normalised input too; in bf16 it keeps that in fp32, and
// its input also, both instead of the input in bf16.
std::int64_t norm(const Config& config, const Widths& w) {
  const bool rms = config.model.normalization == Normalization::rms_norm;
  if (!rms) return 2 * stream(config) * w.model + 2 * w.statistic;
  return stream(config) * (w.model == 2 ? 10 : 3 * w.model) + w.statistic;
}

// Per token.
std::int64_t layer(const Config& config, const Widths& w) {
  const ModelConfig& m = config.model;
  const std::int64_t tp = config.parallel.tensor_model_parallel_size;
  const std::int64_t attention = (2 * m.num_attention_heads + 2 * m.num_query_groups) * m.kv_channels / tp * w.model +
                                 m.num_attention_heads / tp * w.statistic;
  return 2 * norm(config, w) + attention + (m.swiglu ? 4 : 2) * m.ffn_hidden_size / tp * w.model;
}

// Per token: probabilities and their gradient in the wide type, and that in the model's.
std::int64_t loss(const Config& config, const Widths& w) {
  const std::int64_t wide = std::max<std::int64_t>(w.model, 4);
  return config.model.padded_vocab_size / config.parallel.tensor_model_parallel_size *
         (2 * wide + (w.model == wide ? 0 : w.model));
}

}  // namespace

ActivationBytes activation_bytes(const Config& config, std::int64_t rows) {
  const Widths w = widths_of(config.precision);
  const std::int64_t tokens = rows * config.batch.micro_batch_size;
  ActivationBytes bytes;
  bytes.layer = times(tokens, layer(config, w));
  for (const LayerPiece& piece : layer_pieces(config.recompute, config.model.num_layers)) {
    if (piece.recomputed) {
      bytes.layers += times(tokens, stream(config) * w.model);
      bytes.piece = std::max(bytes.piece, times(piece.count, bytes.layer));
    } else {
      bytes.layers += times(piece.count, bytes.layer);
    }
  }
  bytes.ends = times(tokens, norm(config, w));
  bytes.loss = times(tokens, loss(config, w));
  return bytes;
}

}  // namespace ringtron
