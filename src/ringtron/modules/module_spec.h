// What each module is: its parameters and its costs, declared once, without LibTorch.
//
// Constructors register exactly these parameters, in this order. Checkpoints, parameter counts, the memory
// estimate, check_cp_config and the throughput line read the same declarations, so a new kind of layer is
// known to all of them.
#pragma once

#include <cstdint>

#include "ringtron/modules/layer_options.h"
#include "ringtron/parameter/parameter_spec.h"

namespace ringtron {

// What the costs of one rank depend on besides the module's options.
struct RankSizes {
  std::int64_t tensor_ranks = 1;
  std::int64_t element_bytes = 4;    // of the model's type
  std::int64_t statistic_bytes = 4;  // of a log-sum-exp or a statistic of a norm
};

// Of one token, forward and backward.
struct ModuleCosts {
  // Operations, of the whole model: elements of the weight matrices that the token is multiplied with, and
  // the width of what attention multiplies for each cell of its mask.
  std::int64_t multiplied_weights = 0;
  std::int64_t cell_width = 0;
  std::int64_t state_elements = 0;  // of the states that a scan takes from each token to the next
  // Memory of one rank: what is kept from the forward for the backward, and what is there only for a moment
  // between them.
  std::int64_t kept_bytes = 0;
  std::int64_t passing_bytes = 0;
  std::int64_t statistic_bytes = 0;  // of kept_bytes, attention's log-sum-exp: all that recomputed attention leaves out
  // Of kept_bytes, what a recomputed feed-forward part leaves out: what its activation takes, less its input, which it
  // keeps. And its messages of the forward, which it sends again.
  std::int64_t mlp_bytes = 0, mlp_forward_passes = 0;
  // What stays after a backward that leaves the weight gradients for later (WeightGradientQueue): for each linear layer
  // that does, the gradient of its output and what its input is or is computed from.
  std::int64_t left_bytes = 0;
  // Messages of one tensor rank: ring passes over the residual stream, each an all-gather or a
  // reduce-scatter.
  std::int64_t forward_passes = 0, backward_passes = 0;

  bool operator==(const ModuleCosts&) const = default;
};

// Layer `number` of the model: "decoder.layers.3.".
ParameterSpecs parameters_of(const TransformerOptions& options, int number);
ModuleCosts costs_of(const TransformerOptions& options, const RankSizes& sizes);

// Its halves as layers of their own, under the same names, and a Mamba layer.
ParameterSpecs parameters_of_attention_layer(const TransformerOptions& options, int number);
ModuleCosts costs_of_attention_layer(const TransformerOptions& options, const RankSizes& sizes);
ParameterSpecs parameters_of_mlp_layer(const TransformerOptions& options, int number);
ModuleCosts costs_of_mlp_layer(const TransformerOptions& options, const RankSizes& sizes);
ParameterSpecs parameters_of(const MambaOptions& options, int number);
ModuleCosts costs_of(const MambaOptions& options, const RankSizes& sizes);

// Word embedding and learned positions.
ParameterSpecs parameters_of(const EmbeddingOptions& options);
ModuleCosts costs_of(const EmbeddingOptions& options, const RankSizes& sizes);

// Of logits that a rank has at a time: the loss takes so many tokens together. A product of so many rows is as fast as
// a longer one.
inline constexpr std::int64_t kMostLogitBytes = std::int64_t{1} << 30;

// The final norm, and the output layer's weight unless it is tied. Its passing bytes are those of logits, of which
// there are kMostLogitBytes at a time.
ParameterSpecs parameters_of(const OutputOptions& options);
ModuleCosts costs_of(const OutputOptions& options, const RankSizes& sizes);

}  // namespace ringtron
