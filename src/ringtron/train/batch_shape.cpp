#include "ringtron/train/batch_shape.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/modules/attention_config.h"

namespace ringtron {
namespace {

// Ranks that share heads have the same positions, so only what is left of the layout can be uneven. Of the layers with
// the most uneven transport.
double worst_imbalance(const ParallelConfig& parallel, const SequenceLayout& layout,
                       const std::vector<AttentionMask>& masks) {
  const std::set<std::string> words(parallel.cp_comm_type.begin(), parallel.cp_comm_type.end());
  const auto& sizes = parallel.hierarchical_context_parallel_sizes;
  double worst = 1.0;
  for (const std::string& word : words) {
    const CpTransport transport = word == "auto" ? CpTransport::p2p : transport_of(word);
    const int head_ranks = head_ranks_of(transport, layout.ranks(), sizes.empty() ? 1 : sizes[0]);
    worst = std::max(worst, area_imbalance(layout.merged(head_ranks), masks));
  }
  return worst;
}

}  // namespace

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
    shape->attention_cells += repeats * static_cast<double>(mask.area());
  }
  shape->area_imbalance = worst_imbalance(parallel, sequence->layout, masks);
  shape->sequence = std::move(sequence);
  return shape;
}

}  // namespace ringtron
