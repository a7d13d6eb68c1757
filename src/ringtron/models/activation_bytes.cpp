#include "ringtron/models/activation_bytes.h"

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/models/recompute_segments.h"
#include "ringtron/models/state_bytes.h"
#include "ringtron/pipeline_parallel/pipeline_schedule.h"

namespace ringtron {
namespace {

// Of absurd sizes the largest sum that more can be added to.
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;

std::int64_t times(std::int64_t count, std::int64_t bytes) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(count, bytes, &product) ? kMost : std::min(product, kMost);
}

std::int64_t plus(std::int64_t a, std::int64_t b) { return std::min(a + b, kMost); }

KindBytes& of_kind(std::vector<KindBytes>& kinds, LayerKind kind) {
  const auto found = std::ranges::find(kinds, kind, &KindBytes::kind);
  return found != kinds.end() ? *found : kinds.emplace_back(KindBytes{.kind = kind});
}

// Of a training step.
PipelineShape pipeline_shape(const ResolvedConfig& config, int chunks) {
  const std::int64_t one = std::int64_t{config->batch.micro_batch_size} * std::max(1, config.data_parallel_size());
  const auto batches = try_batch_schedule(config->batch, config->model.seq_length);
  const auto* schedule = std::get_if<BatchSchedule>(&batches);
  const std::int64_t largest = schedule != nullptr ? schedule->largest() : config->batch.global_batch_size;
  const std::int64_t count = one > 0 ? std::max<std::int64_t>(1, largest / one) : 1;
  return {config->parallel.pipeline_model_parallel_size, chunks,
          static_cast<int>(std::min<std::int64_t>(count, std::numeric_limits<int>::max() / std::max(1, chunks))),
          config->parallel.microbatch_group_size_per_virtual_pipeline_stage, config->parallel.pipeline_schedule};
}

// Logits that are there together: at least of one position of all samples.
std::int64_t logits_at_once(std::int64_t tokens, std::int64_t samples, const ModuleCosts& output) {
  return std::min(times(tokens, output.passing_bytes), std::max(kMostLogitBytes, times(samples, output.passing_bytes)));
}

// See ActivationBytes::evaluation.
std::int64_t evaluation_bytes(const ResolvedConfig& config, ModelSpec model, std::span<const StageRange> stages,
                              std::int64_t rows, std::int64_t stream) {
  const std::int64_t samples = config->evaluation.eval_micro_batch_size, tokens = rows * samples;
  const bool is_larger = samples > config->batch.micro_batch_size || config->batch.skip_train;
  if (!config->evaluation.is_on() || !is_larger || stages.empty()) return 0;
  const RankSizes sizes = rank_sizes(config);
  // What training computes again is there as well.
  model.transformer.norm.keeps_output = model.mamba.norm.keeps_output = true;
  model.transformer.mlp.keeps_activation = model.mamba.keeps_gated_norm = true;
  std::int64_t most = 0;
  for (const StageRange& stage : stages) {
    for (int i = stage.first; i < stage.first + stage.count; ++i) {
      const LayerSpec& layer = model.layers[static_cast<std::size_t>(i)];
      most = std::max(most, times(tokens, layer_costs(model, layer, sizes).kept_bytes));
    }
  }
  if (stages.back().output) {
    const ModuleCosts output = costs_of(model.output, sizes);
    most = std::max(most, plus(times(tokens, output.kept_bytes), logits_at_once(tokens, samples, output)));
  }
  return plus(most, model.pipeline_ranks > 1 ? times(2 * tokens, stream) : 0);
}

}  // namespace

ActivationBytes activation_bytes(const ResolvedConfig& config, std::int64_t rows) {
  return activation_bytes(config, model_spec(config), rows, 0);
}

ActivationBytes activation_bytes(const ResolvedConfig& config, const ModelSpec& model, std::int64_t rows,
                                 int pipeline_rank) {
  const RankSizes sizes = rank_sizes(config);
  const std::int64_t tokens = rows * config->batch.micro_batch_size;
  // What a recomputed segment keeps: the residual stream.
  const std::int64_t stream =
      model.embedding.hidden / (model.embedding.sequence_parallel ? sizes.tensor_ranks : 1) * sizes.element_bytes;
  ActivationBytes bytes;
  const std::vector<StageRange> stages = stages_of_rank(model.stages, pipeline_rank, model.pipeline_ranks);
  bytes.evaluation = evaluation_bytes(config, model, stages, rows, stream);
  std::int64_t largest_stage = 0, largest_left = 0;  // of one micro-batch; left: until its weight gradients
  for (const StageRange& stage : stages) {
    const std::span<const LayerSpec> layers =
        std::span(model.layers).subspan(static_cast<std::size_t>(stage.first), static_cast<std::size_t>(stage.count));
    // Between stages hidden states are kept as they come in and go out.
    std::int64_t kept = model.pipeline_ranks > 1 ? times(2 * tokens, stream) : 0;
    std::int64_t left = kept;
    for (const RecomputeSegment& segment : recompute_segments(layers)) {
      std::int64_t inside = 0;
      for (int i = segment.first; i < segment.first + segment.count; ++i) {
        const LayerSpec& layer = layers[static_cast<std::size_t>(i)];
        const ModuleCosts costs = layer_costs(model, layer, sizes);
        KindBytes& kind = of_kind(bytes.kinds, layer.kind);
        kind.layers.push_back(layer.number);
        kind.kept = times(tokens, costs.kept_bytes);
        kind.statistic = times(tokens, costs.statistic_bytes);
        left = plus(left, times(tokens, costs.left_bytes));
        inside = plus(inside, kind.kept - (layer.recompute == LayerRecompute::core_attention ? kind.statistic : 0) -
                                  (layer.recompute_mlp ? times(tokens, costs.mlp_bytes) : 0));
        if (layer.recompute_mlp) bytes.segment = std::max(bytes.segment, times(tokens, costs.mlp_bytes));
      }
      kept = plus(kept, segment.recomputed ? times(tokens, stream) : inside);
      if (segment.recomputed) bytes.segment = std::max(bytes.segment, inside);
    }
    largest_stage = std::max(largest_stage, kept);
    largest_left = std::max(largest_left, left);
    if (model.pipeline_ranks == 1) bytes.layers = plus(bytes.layers, kept);
  }
  std::int64_t losses = 1;  // whose backward is to come
  if (model.pipeline_ranks > 1) {
    const PipelineShape shape = pipeline_shape(config, static_cast<int>(stages.size()));
    bytes.left = most_left(shape, pipeline_rank);
    bytes.left_by_one = bytes.left > 0 ? largest_left : 0;
    bytes.in_flight = most_in_flight(shape, pipeline_rank);
    if (shape.schedule == PipelineScheduleKind::gpipe) losses = bytes.in_flight;
    bytes.layers = times(bytes.in_flight - bytes.left, largest_stage);
    // The last of those that are left is so only after its backward.
    if (bytes.left > 0)
      bytes.layers =
          plus(bytes.layers, plus(times(bytes.left - 1, largest_left), std::max(largest_stage, largest_left)));
  }
  if (stages.empty() || !stages.back().output) return bytes;
  const ModuleCosts output = costs_of(model.output, sizes);
  bytes.ends = times(losses, times(tokens, output.kept_bytes));
  bytes.loss = logits_at_once(tokens, config->batch.micro_batch_size, output);
  return bytes;
}

}  // namespace ringtron
