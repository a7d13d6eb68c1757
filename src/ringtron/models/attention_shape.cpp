#include "ringtron/models/attention_shape.h"

namespace ringtron {

AttentionShape attention_shape(const ResolvedConfig& config) {
  const int tp = config->parallel.tensor_model_parallel_size;
  AttentionShape shape;
  shape.samples = config->batch.micro_batch_size;
  shape.heads = config->model.num_attention_heads / tp;
  shape.groups = config->model.num_query_groups / tp;
  shape.key_size = shape.value_size = config->model.kv_channels;
  shape.element_bytes = config->precision.fp64 ? 8 : config->precision.is_half() ? 2 : 4;
  shape.sum_bytes = config->precision.fp64 ? 8 : 4;
  return shape;
}

}  // namespace ringtron
