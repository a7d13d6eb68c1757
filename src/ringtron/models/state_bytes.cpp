#include "ringtron/models/state_bytes.h"

#include <algorithm>
#include <vector>

#include "ringtron/models/model_spec.h"
#include "ringtron/parameter/bucket_plan.h"
#include "ringtron/parameter/parameter_kind.h"

namespace ringtron {
namespace {

// Elements of second moments on the rank that has most, where hidden matrices have none: as Optimizer lays them out.
std::int64_t second_moments(const ParameterSpecs& parameters, const BucketPlan& plan,
                            const std::vector<std::int64_t>& local, int owners) {
  std::vector<std::int64_t> own(static_cast<std::size_t>(owners), 0);
  for (const Bucket& bucket : plan.buckets) {
    const std::int64_t shard = (bucket.end - bucket.begin) / owners;
    for (const int parameter : bucket.parameters) {
      const auto index = static_cast<std::size_t>(parameter);
      if (is_hidden_matrix(parameters[index])) continue;
      const std::int64_t begin = plan.offsets[index] - bucket.begin, end = begin + local[index];
      for (std::int64_t at = begin; at < end;) {
        const std::int64_t owner = at / shard, next = std::min(end, (owner + 1) * shard);
        own[static_cast<std::size_t>(owner)] += BucketPlan::aligned(next - at);
        at = next;
      }
    }
  }
  return *std::ranges::max_element(own);
}

}  // namespace

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
  const ParameterSpecs parameters = rank_parameters(model, pipeline_rank);
  for (const ParameterSpec& parameter : parameters) {
    local.push_back(parameter.local_elements(config->parallel.tensor_model_parallel_size));
    count.of_rank += local.back();
  }
  BucketOptions options;
  options.overlap = config->parallel.overlap_grad_reduce;
  options.bucket_size = config->parallel.ddp_bucket_size;
  options.group_size = replicas;
  options.sharded = config->parallel.use_distributed_optimizer;
  const BucketPlan plan = plan_buckets(local, options);
  count.gradient_buffer = plan.elements;
  count.optimizer = options.sharded ? count.gradient_buffer / replicas : count.of_rank;
  switch (config->optimizer.optimizer) {
    case OptimizerType::adam:
      count.moments = 2 * count.optimizer;
      break;
    case OptimizerType::sgd:
      count.moments = count.optimizer;
      break;
    case OptimizerType::muon:
      count.moments = count.optimizer + second_moments(parameters, plan, local, options.sharded ? replicas : 1);
      for (const ParameterSpec& p : parameters)
        if (is_hidden_matrix(p)) count.largest_matrix = std::max(count.largest_matrix, p.elements());
      break;
  }
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
  bytes.moments = count.moments * state;
  return bytes;
}

}  // namespace ringtron
