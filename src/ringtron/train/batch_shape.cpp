#include "ringtron/train/batch_shape.h"

#include <vector>

#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/modules/attention_config.h"

namespace ringtron {

std::shared_ptr<const BatchShape> make_batch_shape(const Config& config, const DocumentStarts& documents) {
  const ParallelConfig& parallel = config.parallel;
  const std::int64_t length = config.model.seq_length;
  const AttentionWindow window = attention_window(config.model);
  std::vector<AttentionMask> masks;
  for (const auto& starts : documents) masks.emplace_back(length, /*causal=*/true, window, starts);
  const double repeats = masks.empty() ? config.batch.micro_batch_size : 1;
  if (masks.empty()) masks.emplace_back(length, /*causal=*/true, window);

  // Sequence parallelism cuts each shard once more.
  const std::int64_t multiple = parallel.sequence_parallel ? parallel.tensor_model_parallel_size : 1;
  auto sequence = std::make_shared<SequenceShape>(SequenceShape{
      make_layout(parallel.cp_layout, masks, parallel.context_parallel_size, multiple), documents});

  auto shape = std::make_shared<BatchShape>();
  for (const AttentionMask& mask : masks) {
    shape->squared_lengths += repeats * static_cast<double>(2 * mask.area() - length);
  }
  shape->area_imbalance = area_imbalance(sequence->layout, masks);
  shape->sequence = std::move(sequence);
  return shape;
}

}  // namespace ringtron
