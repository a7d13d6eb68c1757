#include "ringtron/telemetry/flops.h"

namespace ringtron {

double gpt_step_flops(const DenseGptSizes& sizes, std::int64_t sequences, std::int64_t length) {
  constexpr double kPerWeight = 6;  // multiply and add, once forward and twice backward
  const double hidden = static_cast<double>(sizes.hidden), layers = static_cast<double>(sizes.layers);
  const double query = static_cast<double>(sizes.query_projection);
  const double key_value = static_cast<double>(sizes.key_value_projection);
  const double mlp_weights = hidden * static_cast<double>(sizes.ffn_hidden) * (sizes.swiglu ? 3 : 2);
  const double attention_weights = hidden * (query + 2 * key_value) + query * hidden;
  const double logit_weights = hidden * static_cast<double>(sizes.padded_vocab);
  const double s = static_cast<double>(length), b = static_cast<double>(sequences);
  // Scores and their product with the values: 4 b s^2 query forward, halved by causality, times 3.
  const double attention_core = layers * 6 * b * s * s * query;
  return b * s * kPerWeight * (layers * (mlp_weights + attention_weights) + logit_weights) + attention_core;
}

double tflops_per_device(double step_flops, double step_seconds, int world_size) {
  return step_flops / (step_seconds * 1e12 * world_size);
}

}  // namespace ringtron
