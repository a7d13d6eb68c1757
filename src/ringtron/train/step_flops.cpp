#include "ringtron/train/step_flops.h"

#include "ringtron/telemetry/flops.h"
#include "ringtron/train/batch_shape.h"

namespace ringtron {
namespace {

DenseGptSizes sizes_of(const ModelConfig& m) {
  DenseGptSizes sizes;
  sizes.layers = m.num_layers;
  sizes.hidden = m.hidden_size;
  sizes.ffn_hidden = m.ffn_hidden_size;
  sizes.query_projection = static_cast<std::int64_t>(m.num_attention_heads) * m.kv_channels;
  sizes.key_value_projection = static_cast<std::int64_t>(m.num_query_groups) * m.kv_channels;
  sizes.padded_vocab = m.padded_vocab_size;
  sizes.swiglu = m.swiglu;
  return sizes;
}

}  // namespace

double step_flops(const Config& config, double attention_cells) {
  const double tokens = static_cast<double>(config.batch.global_batch_size) * config.model.seq_length;
  return gpt_step_flops(sizes_of(config.model), tokens, attention_cells);
}

double step_flops(const Config& config) {
  const double micro_batches = static_cast<double>(config.batch.global_batch_size) / config.batch.micro_batch_size;
  return step_flops(config, make_batch_shape(config, {})->attention_cells * micro_batches);
}

}  // namespace ringtron
