#include "ringtron/models/state_bytes.h"

#include <vector>

#include "ringtron/models/model_spec.h"
#include "ringtron/parameter/bucket_plan.h"

namespace ringtron {

std::string_view model_type(const ResolvedConfig& config) {
  if (config->precision.fp64) return "fp64";
  if (config->precision.fp16) return "fp16";
  return config->precision.bf16 ? "bf16" : "fp32";
}

std::int64_t model_element_bytes(const ResolvedConfig& config) {
  if (config->precision.fp64) return 8;
  return config->precision.is_half() ? 2 : 4;
}

std::int64_t state_element_bytes(const ResolvedConfig& config) { return config->precision.fp64 ? 8 : 4; }

RankSizes rank_sizes(const ResolvedConfig& config) {
  return {config->parallel.tensor_model_parallel_size, model_element_bytes(config), state_element_bytes(config)};
}

ParameterCount count_parameters(const ResolvedConfig& config, int replicas) {
  const ModelSpec model = model_spec(config);
  ParameterCount most;
  for (int rank = 0; rank < model.pipeline_ranks; ++rank) {
    const ParameterCount own = count_parameters(config, model, replicas, rank);
    if (own.of_rank >= most.of_rank) most = own;
  }
  for (const ParameterSpec& parameter : model_parameters(model)) most.whole += parameter.elements();
  return most;
}

ParameterCount count_parameters(const ResolvedConfig& config, const ModelSpec& model, int replicas, int pipeline_rank) {
  ParameterCount count;
  std::vector<std::int64_t> local;
  for (const ParameterSpec& parameter : rank_parameters(model, pipeline_rank)) {
    local.push_back(parameter.local_elements(config->parallel.tensor_model_parallel_size));
    count.of_rank += local.back();
  }
  BucketOptions options;
  options.overlap = config->parallel.overlap_grad_reduce;
  options.bucket_size = config->parallel.ddp_bucket_size;
  options.group_size = replicas;
  options.sharded = config->parallel.use_distributed_optimizer;
  count.gradient_buffer = plan_buckets(local, options).elements;
  count.optimizer = options.sharded ? count.gradient_buffer / replicas : count.of_rank;
  return count;
}

StateBytes state_bytes(const ResolvedConfig& config, const ParameterCount& count) {
  const std::int64_t model = model_element_bytes(config), state = state_element_bytes(config);
  StateBytes bytes;
  const bool sharded = config->parallel.use_distributed_optimizer;  // then weights lie in a buffer like the gradients'
  bytes.weights = (sharded ? count.gradient_buffer : count.of_rank) * model;
  bytes.gradients = count.gradient_buffer * state;
  // Of bf16 the half that the weight lacks.
  const std::int64_t beside = config->precision.fp16 ? state : state - model;
  bytes.main_weights = count.optimizer * beside;
  bytes.moments = 2 * count.optimizer * state;
  return bytes;
}

}  // namespace ringtron
