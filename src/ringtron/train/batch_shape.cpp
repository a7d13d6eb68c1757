#include "ringtron/train/batch_shape.h"

#include <vector>

#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/models/model_spec.h"

namespace ringtron {

std::shared_ptr<const BatchShape> make_batch_shape(const ResolvedConfig& config, const DocumentStarts& documents,
                                                   std::span<const CpTransport> transports) {
  const ParallelConfig& parallel = config->parallel;
  const std::int64_t length = config->model.seq_length;
  const AttentionWindow window = attention_window(config->model);
  std::vector<AttentionMask> masks;
  for (const auto& starts : documents) masks.emplace_back(length, /*causal=*/true, window, starts);
  const double repeats = masks.empty() ? config->batch.micro_batch_size : 1;
  if (masks.empty()) masks.emplace_back(length, /*causal=*/true, window);

  // Sequence parallelism cuts each shard once more.
  const std::int64_t multiple = parallel.sequence_parallel ? parallel.tensor_model_parallel_size : 1;
  auto sequence = std::make_shared<SequenceShape>(
      SequenceShape{make_layout(parallel.cp_layout, masks, parallel.context_parallel_size, multiple), documents});

  auto shape = std::make_shared<BatchShape>();
  for (const AttentionMask& mask : masks) {
    shape->attention_cells += repeats * static_cast<double>(mask.area());
  }
  const auto& sizes = parallel.hierarchical_context_parallel_sizes;
  shape->area_imbalance = area_imbalance(sequence->layout, masks, transports, sizes.empty() ? 0 : sizes[0]);
  shape->sequence = std::move(sequence);
  return shape;
}

double step_flops(const ResolvedConfig& config, double attention_cells) {
  const double tokens = static_cast<double>(config->batch.global_batch_size) * config->model.seq_length;
  return step_flops(model_spec(config), tokens, attention_cells);
}

double step_flops(const ResolvedConfig& config) {
  const double micro_batches = static_cast<double>(config->batch.global_batch_size) / config->batch.micro_batch_size;
  return step_flops(config, make_batch_shape(config, {}, {})->attention_cells * micro_batches);
}

}  // namespace ringtron
