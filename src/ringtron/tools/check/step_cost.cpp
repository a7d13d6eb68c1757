// Closed forms of what tensor_parallel/ and data_parallel/ send. See step_cost.h.
#include "ringtron/tools/check/step_cost.h"

namespace ringtron {
namespace {

// One ring pass over the tensor group: an all-gather or a reduce-scatter of `bytes` in all.
std::int64_t ring_pass(std::int64_t bytes, std::int64_t ranks) {
  return bytes * (ranks - 1) / ranks;
}

std::int64_t tensor_ranks(const Config& config) {
  return config.parallel.tensor_model_parallel_size;
}

// One pass over the residual stream of a micro-batch.
std::int64_t stream_pass(const Config& config, std::int64_t rows) {
  return ring_pass(
      rows * config.batch.micro_batch_size * config.model.hidden_size * model_element_bytes(config),
      tensor_ranks(config));
}

}  // namespace

SentBytes tensor_layer_bytes(const Config& config, std::int64_t rows) {
  const std::int64_t pass = stream_pass(config, rows);
  // Forward: gather and scattered sum, or one sum for all, of each pair. Backward: a sum for the
  // column-parallel layer; with sequence parallelism its input and the row-parallel layer's gradient are
  // gathered as well.
  return config.parallel.sequence_parallel ? SentBytes{4 * pass, 6 * pass} : SentBytes{4 * pass, 4 * pass};
}

SentBytes tensor_ends_bytes(const Config& config, std::int64_t rows) {
  const std::int64_t pass = stream_pass(config, rows);
  const bool learned = config.model.position_embedding_type == PositionEmbedding::learned_absolute;
  SentBytes bytes;
  if (config.parallel.sequence_parallel) {
    // Embedding: a scattered sum; with learned positions, which are added to whole rows, a sum for all.
    // Output layer: its input is gathered in both directions, its input's gradient is summed and scattered.
    bytes.forward = (learned ? 2 : 1) * pass + pass;
    bytes.backward = pass + 2 * pass;
  } else {
    bytes.forward = 2 * pass;
    bytes.backward = 2 * pass;
  }
  // Cross entropy: the largest logit of each token, then its own logit and the sum, summed for all.
  bytes.forward +=
      3 * 2 *
      ring_pass(rows * config.batch.micro_batch_size * state_element_bytes(config), tensor_ranks(config));
  return bytes;
}

std::int64_t gradient_sum_bytes(const Config& config, const ParameterCount& count, int replicas) {
  return 2 * ring_pass(count.gradient_buffer * state_element_bytes(config), replicas);
}

}  // namespace ringtron
