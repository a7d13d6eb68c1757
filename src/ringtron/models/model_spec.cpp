#include "ringtron/models/model_spec.h"

#include <algorithm>
#include <iterator>

#include "ringtron/base/check.h"

namespace ringtron {

ModelSpec model_spec(const ResolvedConfig& config, std::span<const CpTransport> transports, std::int64_t vocabulary) {
  ModelSpec model;
  model.embedding = embedding_options(config, vocabulary);
  model.transformer = transformer_options(config);
  model.mamba = mamba_options(config);
  model.rotary = rotary_options(config->model);
  model.layers = layer_specs(config, transports);
  model.output = output_options(config, vocabulary);
  model.stages = stages_of(config);
  // Of a command line with faults there may be fewer stages than ranks.
  model.pipeline_ranks = std::min(config->parallel.pipeline_model_parallel_size, static_cast<int>(model.stages.size()));
  model.seed = static_cast<std::uint64_t>(config->precision.seed);
  model.keeps_kv = config->recompute.cp_keep_kv;
  return model;
}

ParameterSpecs layer_parameters(const ModelSpec& model, const LayerSpec& layer) {
  switch (layer.kind) {
    case LayerKind::transformer:
      return parameters_of(model.transformer, layer.number);
    case LayerKind::attention:
      return parameters_of_attention_layer(model.transformer, layer.number);
    case LayerKind::mlp:
      return parameters_of_mlp_layer(model.transformer, layer.number);
    case LayerKind::mamba:
      return parameters_of(model.mamba, layer.number);
  }
  RT_CHECK(false, "layer {} is of an unknown kind", layer.number);
}

ModuleCosts layer_costs(const ModelSpec& model, const LayerSpec& layer, const RankSizes& sizes) {
  switch (layer.kind) {
    case LayerKind::transformer:
      return costs_of(model.transformer, sizes);
    case LayerKind::attention:
      return costs_of_attention_layer(model.transformer, sizes);
    case LayerKind::mlp:
      return costs_of_mlp_layer(model.transformer, sizes);
    case LayerKind::mamba:
      return costs_of(model.mamba, sizes);
  }
  RT_CHECK(false, "layer {} is of an unknown kind", layer.number);
}

namespace {

void append(ParameterSpecs& all, ParameterSpecs&& more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

}  // namespace

ParameterSpecs stage_parameters(const ModelSpec& model, const StageRange& stage) {
  ParameterSpecs all;
  if (stage.embedding) append(all, parameters_of(model.embedding));
  for (int i = stage.first; i < stage.first + stage.count; ++i)
    append(all, layer_parameters(model, model.layers[static_cast<std::size_t>(i)]));
  if (stage.output) append(all, parameters_of(model.output));
  return all;
}

ParameterSpecs rank_parameters(const ModelSpec& model, int pipeline_rank) {
  ParameterSpecs all;
  for (const StageRange& stage : stages_of_rank(model.stages, pipeline_rank, model.pipeline_ranks))
    append(all, stage_parameters(model, stage));
  return all;
}

ParameterSpecs model_parameters(const ModelSpec& model) {
  ParameterSpecs all = stage_parameters(model, {0, static_cast<int>(model.layers.size()), true, true});
  std::erase_if(all, [](const ParameterSpec& parameter) { return parameter.is_copy; });
  return all;
}

double step_flops(const ModelSpec& model, double tokens, double attention_cells) {
  RT_CHECK(model.output.padded_vocabulary > 0, "operations of a model without a vocabulary");
  constexpr double kPerWeight = 6;  // multiply and add, once forward and twice backward
  constexpr double kPerCell = 12;   // of a score and of its product with a value, the same
  constexpr double kPerState = 21;  // 7 forward, as Megatron counts a scan
  double weights = static_cast<double>(costs_of(model.output, {}).multiplied_weights), widths = 0, states = 0;
  for (const LayerSpec& layer : model.layers) {
    const ModuleCosts costs = layer_costs(model, layer, {});
    weights += static_cast<double>(costs.multiplied_weights);
    widths += static_cast<double>(costs.cell_width);
    states += static_cast<double>(costs.state_elements);
  }
  return tokens * (kPerWeight * weights + kPerState * states) + widths * kPerCell * attention_cells;
}

}  // namespace ringtron
