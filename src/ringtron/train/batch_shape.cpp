#include "ringtron/train/batch_shape.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/modules/attention_config.h"
#include "ringtron/telemetry/flops.h"

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

DenseGptSizes sizes_of(const ModelConfig& m) {
  DenseGptSizes sizes;
  sizes.layers = m.num_layers;
  sizes.hidden = m.hidden_size;
  sizes.ffn_hidden = m.ffn_hidden_size;
  sizes.query_projection = static_cast<std::int64_t>(m.num_attention_heads) * m.kv_channels;
  sizes.key_value_projection = static_cast<std::int64_t>(m.num_query_groups) * m.kv_channels;
  sizes.padded_vocab = m.padded_vocab_size;
  sizes.swiglu = m.swiglu;
  return sizes;
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

double step_flops(const Config& config, double attention_cells) {
  const double tokens = static_cast<double>(config.batch.global_batch_size) * config.model.seq_length;
  return gpt_step_flops(sizes_of(config.model), tokens, attention_cells);
}

double step_flops(const Config& config) {
  const double micro_batches = static_cast<double>(config.batch.global_batch_size) / config.batch.micro_batch_size;
  return step_flops(config, make_batch_shape(config, {})->attention_cells * micro_batches);
}

}  // namespace ringtron
