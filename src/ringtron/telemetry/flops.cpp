#include "ringtron/telemetry/flops.h"

#include "ringtron/base/check.h"

namespace ringtron {

double gpt_step_flops(const DenseGptSizes& sizes, double tokens, double attention_cells) {
  RT_CHECK(sizes.padded_vocab > 0, "operations of a model without a vocabulary");
  constexpr double kPerWeight = 6;  // multiply and add, once forward and twice backward
  constexpr double kPerCell = 12;   // of a score and of its product with a value, the same
  const double hidden = static_cast<double>(sizes.hidden), layers = static_cast<double>(sizes.layers);
  const double query = static_cast<double>(sizes.query_projection);
  const double key_value = static_cast<double>(sizes.key_value_projection);
  const double mlp_weights = hidden * static_cast<double>(sizes.ffn_hidden) * (sizes.swiglu ? 3 : 2);
  const double attention_weights = hidden * (query + 2 * key_value) + query * hidden;
  const double logit_weights = hidden * static_cast<double>(sizes.padded_vocab);
  return tokens * kPerWeight * (layers * (mlp_weights + attention_weights) + logit_weights) +
         layers * kPerCell * attention_cells * query;
}

double tflops_per_device(double step_flops, double step_seconds, int world_size) {
  return step_flops / (step_seconds * 1e12 * world_size);
}

}  // namespace ringtron
