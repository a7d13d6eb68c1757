// Closed forms of what tensor_parallel/ and data_parallel/ send. See step_cost.h.
#include "ringtron/tools/check/step_cost.h"

namespace ringtron {
namespace {

// One ring pass over the tensor group: an all-gather or a reduce-scatter of `bytes` in all.
std::int64_t ring_pass(std::int64_t bytes, std::int64_t ranks) { return bytes * (ranks - 1) / ranks; }

std::int64_t tensor_ranks(const ResolvedConfig& config) { return config->parallel.tensor_model_parallel_size; }

}  // namespace

SentBytes tensor_module_bytes(const ResolvedConfig& config, const ModuleCosts& costs, std::int64_t rows) {
  // One pass over the residual stream of a micro-batch.
  const std::int64_t pass =
      ring_pass(rows * config->batch.micro_batch_size * config->model.hidden_size * model_element_bytes(config),
                tensor_ranks(config));
  return {costs.forward_passes * pass, costs.backward_passes * pass};
}

SentBytes tensor_ends_bytes(const ResolvedConfig& config, std::int64_t rows) {
  const RankSizes sizes = rank_sizes(config);
  const SentBytes embedding = tensor_module_bytes(config, costs_of(embedding_options(config), sizes), rows);
  SentBytes bytes = tensor_module_bytes(config, costs_of(output_options(config), sizes), rows);
  bytes.forward += embedding.forward;
  bytes.backward += embedding.backward;
  // Cross entropy: the largest logit of each token, then its own logit and the sum, summed for all.
  bytes.forward +=
      3 * 2 * ring_pass(rows * config->batch.micro_batch_size * state_element_bytes(config), tensor_ranks(config));
  return bytes;
}

std::int64_t gradient_sum_bytes(const ResolvedConfig& config, const ParameterCount& count, int replicas) {
  const std::int64_t element = config->precision.grad_reduce_in_bf16 ? 2 : state_element_bytes(config);
  const std::int64_t gradients = ring_pass(count.gradient_buffer * element, replicas);
  if (!config->parallel.use_distributed_optimizer) return 2 * gradients;
  return gradients + ring_pass(count.gradient_buffer * model_element_bytes(config), replicas);
}

}  // namespace ringtron
