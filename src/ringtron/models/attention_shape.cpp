#include "ringtron/models/attention_shape.h"

#include "ringtron/modules/sample_mask.h"

namespace ringtron {

namespace {

// As AttentionState::block_type decides it, for transports that merge.
bool computes_in_half(const Config& config) {
  const bool dense = sample_mask(config).dense() && !config.data.reset_attention_mask;
  return config.precision.bf16 && config.parallel.cp_block_type == "fp16" && dense &&
         config.model.seq_length <= kLongestInHalf && config.precision.attention_dropout == 0.0;
}

}  // namespace

AttentionShape attention_shape(const Config& config, bool gpu) {
  const int tp = config.parallel.tensor_model_parallel_size;
  AttentionShape shape;
  shape.samples = config.batch.micro_batch_size;
  shape.heads = config.model.num_attention_heads / tp;
  shape.groups = config.model.num_query_groups / tp;
  shape.key_size = shape.value_size = config.model.kv_channels;
  shape.element_bytes = config.precision.fp64 ? 8 : config.precision.bf16 ? 2 : 4;
  shape.sum_bytes = config.precision.fp64 ? 8 : 4;
  shape.gradient_bytes = gpu && computes_in_half(config) ? 2 : shape.sum_bytes;
  return shape;
}

}  // namespace ringtron
