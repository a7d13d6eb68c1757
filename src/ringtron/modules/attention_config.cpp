#include "ringtron/modules/attention_config.h"

namespace ringtron {

RotaryOptions rotary_options(const ModelConfig& model) {
  RotaryOptions options;
  options.head_dim = model.kv_channels;
  options.percent = model.rotary_percent;
  options.base = model.rotary_base;
  options.interleaved = model.rotary_interleaved;
  options.interpolation = model.rotary_seq_len_interpolation_factor;
  options.llama3_scaling = model.use_rope_scaling;
  options.llama3_factor = model.rope_scaling_factor;
  return options;
}

CpAttentionOptions cp_attention_options(const Config& config) {
  CpAttentionOptions options;
  options.deterministic = config.precision.deterministic_mode;
  const auto& sizes = config.parallel.hierarchical_context_parallel_sizes;
  options.hierarchical_a = sizes.empty() ? 1 : sizes[0];
  return options;
}

}  // namespace ringtron
