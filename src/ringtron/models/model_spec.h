// A model as data: its embedding, its layers in order, its output layer. Made once from the configuration,
// without LibTorch.
//
// GptModel is built from it; parameter counts, memory estimates, messages and operations are sums over it.
#pragma once

#include "ringtron/config/resolved_config.h"
#include "ringtron/modules/module_spec.h"

namespace ringtron {

struct ModelSpec {
  EmbeddingOptions embedding;
  TransformerOptions transformer;  // of all layers of this kind, and of those that are its halves
  MambaOptions mamba;
  std::optional<RotaryOptions> rotary;
  std::vector<LayerSpec> layers;
  OutputOptions output;
  std::vector<StageRange> stages;  // virtual ones, in the order of the model
  int pipeline_ranks = 1;          // number s lies on rank s % pipeline_ranks
  std::uint64_t seed = 0;          // of dropout
  bool keeps_kv = false;           // --cp-keep-kv
};

// `transports`: of each layer; empty: p2p in all, for questions that do not depend on it. `vocabulary`:
// without padding; -1: not known, and then no parameter has padding rows.
ModelSpec model_spec(const ResolvedConfig& config, std::span<const CpTransport> transports = {},
                     std::int64_t vocabulary = -1);

// Of one layer of any kind.
ParameterSpecs layer_parameters(const ModelSpec& model, const LayerSpec& layer);
ModuleCosts layer_costs(const ModelSpec& model, const LayerSpec& layer, const RankSizes& sizes);

// Of one stage, in the order in which it registers them.
ParameterSpecs stage_parameters(const ModelSpec& model, const StageRange& stage);
// Of all virtual stages of one pipeline rank.
ParameterSpecs rank_parameters(const ModelSpec& model, int pipeline_rank);
// Of the whole model, each once.
ParameterSpecs model_parameters(const ModelSpec& model);

// Operations of a training step whose samples have `tokens` tokens and masks of `attention_cells` (query,
// key) pairs in all, as one head of one layer sees them: multiplications and additions of matrix products and
// of the masks' cells, forward and backward.
//
// As in Megatron's formula the backward pass counts twice the forward, what is recomputed does not count, and
// norms, activations and softmax do not either. Unlike there a cell of attention counts where the mask has
// it: half of the score matrix and half of its diagonal under a causal mask, less with windows and documents.
double step_flops(const ModelSpec& model, double tokens, double attention_cells);

}  // namespace ringtron
