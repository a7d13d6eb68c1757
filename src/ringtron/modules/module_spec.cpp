#include "ringtron/modules/module_spec.h"

#include <fmt/format.h>

#include <cmath>

namespace ringtron {
namespace {

void append(ParameterSpecs& list, const ParameterSpecs& more) { list.insert(list.end(), more.begin(), more.end()); }

AxisSet axes_of(bool gradient_is_partial) {
  return gradient_is_partial ? kDataContextAxes | Axis::tensor : kDataContextAxes;
}

// `weight` and, of LayerNorm, `bias`: each [width].
ParameterSpecs norm_parameters(const NormOptions& norm, const std::string& weight, const std::string& bias) {
  const AxisSet axes = axes_of(norm.gradient_is_partial);
  ParameterSpecs list = {{weight, {{norm.width}}, Initial::constant(norm.zero_centred ? 0.0 : 1.0), axes}};
  if (!norm.rms) list.push_back({bias, {{norm.width}}, Initial::constant(0.0), axes});
  return list;
}

// Megatron's names: the norm belongs to the linear layer that follows it.
ParameterSpecs norm_before(const NormOptions& norm, const std::string& linear) {
  return norm_parameters(norm, linear + ".layer_norm_weight", linear + ".layer_norm_bias");
}

// Of a row-parallel linear layer: added once, to the sum over the tensor ranks.
ParameterSpec row_bias(const std::string& name, std::int64_t width, bool sequence_parallel) {
  return {name, {{width}}, Initial::constant(0.0), axes_of(sequence_parallel)};
}

ParameterSpecs attention_parameters(const AttentionOptions& o, const std::string& prefix) {
  const std::int64_t rows = (o.heads + 2 * o.groups) * o.head_size;
  ParameterSpecs list = {{prefix + "linear_qkv.weight", {{rows, o.hidden}, 0}, o.qkv_weight}};
  if (o.qkv_bias) list.push_back({prefix + "linear_qkv.bias", {{rows}, 0}, Initial::constant(0.0)});
  if (o.qk_norm) {
    append(list, norm_parameters(*o.qk_norm, prefix + "q_layernorm.weight", prefix + "q_layernorm.bias"));
    append(list, norm_parameters(*o.qk_norm, prefix + "k_layernorm.weight", prefix + "k_layernorm.bias"));
  }
  if (o.softmax == SoftmaxKind::learnable) {
    list.push_back({prefix + "core_attention.softmax_offset", {{o.heads}, 0}, Initial::constant(0.0)});
  }
  list.push_back({prefix + "linear_proj.weight", {{o.hidden, o.heads * o.head_size}, 1}, o.output_weight});
  if (o.output_bias) list.push_back(row_bias(prefix + "linear_proj.bias", o.hidden, o.sequence_parallel));
  return list;
}

ParameterSpecs mlp_parameters(const MlpOptions& o, const std::string& prefix) {
  const std::int64_t rows = o.gated() ? 2 * o.ffn : o.ffn;
  const auto parts = o.gated() ? std::vector<std::int64_t>{o.ffn, o.ffn} : std::vector<std::int64_t>{};
  ParameterSpecs list = {{prefix + "linear_fc1.weight", {{rows, o.hidden}, 0, parts}, o.up_weight}};
  if (o.bias) list.push_back({prefix + "linear_fc1.bias", {{rows}, 0, parts}, Initial::constant(0.0)});
  list.push_back({prefix + "linear_fc2.weight", {{o.hidden, o.ffn}, 1}, o.down_weight});
  if (o.bias) list.push_back(row_bias(prefix + "linear_fc2.bias", o.hidden, o.sequence_parallel));
  return list;
}

// The residual stream's width on one rank.
std::int64_t stream(std::int64_t hidden, bool sequence_parallel, const RankSizes& sizes) {
  return sequence_parallel ? hidden / sizes.tensor_ranks : hidden;
}

// A norm keeps its input, the residual sum; the linear layer behind it keeps the norm's output or has it computed
// again. Statistics: mean and deviation of LayerNorm, the latter of RMSNorm.
std::int64_t norm_bytes(const NormOptions& norm, const RankSizes& sizes) {
  const std::int64_t width = stream(norm.width, norm.gradient_is_partial, sizes), element = sizes.element_bytes;
  return (norm.keeps_output ? 2 : 1) * width * element + (norm.rms ? 1 : 2) * sizes.statistic_bytes;
}

std::string prefix_of(int number) { return fmt::format("decoder.layers.{}.", number); }

// Messages of a column-parallel linear layer and the row-parallel one behind it. Forward: gather and scattered sum, or
// one sum for all. Backward: a sum for the column-parallel layer; with sequence parallelism its input and the
// row-parallel layer's gradient are gathered as well.
ModuleCosts costs_of_pair(bool sequence_parallel) {
  ModuleCosts costs;
  costs.forward_passes = 2;
  costs.backward_passes = sequence_parallel ? 3 : 2;
  return costs;
}

// Whether a column-parallel layer leaves its weight gradient: not where that hides the sum of its input's gradient.
bool leaves_column(bool sequence_parallel, const RankSizes& sizes) {
  return sizes.tensor_ranks == 1 || sequence_parallel;
}

// Of a word embedding that two stages of a pipeline have: the one with the embedding, the other with the output layer.
constexpr AxisSet kTiedAxes = kDataContextAxes | Axis::pipeline;

ParameterSpec word_embedding(std::int64_t words, std::int64_t hidden, const Initial& initial, std::int64_t vocabulary) {
  return {"embedding.word_embeddings.weight", {{words, hidden}, 0}, initial, kDataContextAxes, vocabulary};
}

}  // namespace

ParameterSpecs parameters_of_attention_layer(const TransformerOptions& options, int number) {
  const std::string prefix = prefix_of(number) + "self_attention.";
  ParameterSpecs list = norm_before(options.norm, prefix + "linear_qkv");
  append(list, attention_parameters(options.attention, prefix));
  return list;
}

ParameterSpecs parameters_of_mlp_layer(const TransformerOptions& options, int number) {
  const std::string prefix = prefix_of(number) + "mlp.";
  ParameterSpecs list = norm_before(options.norm, prefix + "linear_fc1");
  append(list, mlp_parameters(options.mlp, prefix));
  return list;
}

ParameterSpecs parameters_of(const TransformerOptions& options, int number) {
  ParameterSpecs list = parameters_of_attention_layer(options, number);
  append(list, parameters_of_mlp_layer(options, number));
  return list;
}

ParameterSpecs parameters_of(const MambaOptions& o, int number) {
  const std::string prefix = prefix_of(number) + "mixer.";
  const std::int64_t inner = o.inner(), shared = o.groups * o.state_size, channels = o.conv_channels();
  const std::vector<std::int64_t> conv_parts = {inner, shared, shared};
  const Initial conv = Initial::uniform(1.0 / std::sqrt(static_cast<double>(o.conv_width)));
  ParameterSpecs list = norm_before(o.norm, prefix + "in_proj");
  list.push_back({prefix + "in_proj.weight",
                  {{2 * inner + 2 * shared + o.heads, o.hidden}, 0, {inner, inner, shared, shared, o.heads}},
                  o.in_weight});
  list.push_back({prefix + "conv1d_weight", {{channels, 1, o.conv_width}, 0, conv_parts}, conv});
  list.push_back({prefix + "conv1d_bias", {{channels}, 0, conv_parts}, conv});
  list.push_back({prefix + "dt_bias", {{o.heads}, 0}, {Initial::Kind::time_step}});
  list.push_back({prefix + "A_log", {{o.heads}, 0}, {Initial::Kind::log_uniform}});
  list.push_back({prefix + "D", {{o.heads}, 0}, Initial::constant(1.0)});
  list.push_back({prefix + "norm.weight", {{inner}, 0}, Initial::constant(1.0)});
  list.push_back({prefix + "out_proj.weight", {{o.hidden, inner}, 1}, o.out_weight});
  return list;
}

ModuleCosts costs_of_attention_layer(const TransformerOptions& options, const RankSizes& sizes) {
  const AttentionOptions& a = options.attention;
  ModuleCosts costs = costs_of_pair(a.sequence_parallel);
  costs.cell_width = a.heads * a.head_size;
  costs.multiplied_weights = a.hidden * (a.heads + 2 * a.groups) * a.head_size + costs.cell_width * a.hidden;
  // Inputs of q/k norm: the projection's output as a whole.
  const std::int64_t before_norm =
      a.qk_norm ? (a.heads + 2 * a.groups) * a.head_size / sizes.tensor_ranks * sizes.element_bytes : 0;
  costs.statistic_bytes = a.heads / sizes.tensor_ranks * sizes.statistic_bytes;
  costs.kept_bytes = norm_bytes(options.norm, sizes) + before_norm +
                     (2 * a.heads + 2 * a.groups) * a.head_size / sizes.tensor_ranks * sizes.element_bytes +
                     costs.statistic_bytes;
  // In front the residual sum and the gradients of q, k and v; behind attention's output and its gradient.
  const std::int64_t residual = stream(a.hidden, a.sequence_parallel, sizes);
  costs.left_bytes = (residual + a.heads * a.head_size / sizes.tensor_ranks) * sizes.element_bytes;
  if (leaves_column(a.sequence_parallel, sizes))
    costs.left_bytes += (residual + (a.heads + 2 * a.groups) * a.head_size / sizes.tensor_ranks) * sizes.element_bytes;
  return costs;
}

ModuleCosts costs_of_mlp_layer(const TransformerOptions& options, const RankSizes& sizes) {
  const MlpOptions& m = options.mlp;
  ModuleCosts costs = costs_of_pair(m.sequence_parallel);
  costs.multiplied_weights = m.hidden * m.ffn * (m.gated() ? 3 : 2);
  const std::int64_t residual = stream(m.hidden, m.sequence_parallel, sizes) * sizes.element_bytes,
                     activated = m.ffn / sizes.tensor_ranks * sizes.element_bytes,
                     middle = (m.gated() ? 2 : 1) * activated;
  costs.kept_bytes = norm_bytes(options.norm, sizes) + middle + (m.keeps_activation ? activated : 0);
  costs.mlp_bytes = middle + (m.keeps_activation ? activated : 0) - (options.norm.keeps_output ? 0 : residual);
  costs.mlp_forward_passes = costs.forward_passes;
  // In front the residual sum or its norm, and the gradient of what the activation takes; behind that itself or its
  // activation, and the output's gradient.
  costs.left_bytes = residual + (m.keeps_activation ? activated : middle);
  if (leaves_column(m.sequence_parallel, sizes)) costs.left_bytes += residual + middle;
  return costs;
}

ModuleCosts costs_of(const TransformerOptions& options, const RankSizes& sizes) {
  ModuleCosts costs = costs_of_attention_layer(options, sizes);
  const ModuleCosts mlp = costs_of_mlp_layer(options, sizes);
  costs.multiplied_weights += mlp.multiplied_weights;
  costs.kept_bytes += mlp.kept_bytes;
  costs.mlp_bytes = mlp.mlp_bytes;
  costs.mlp_forward_passes = mlp.mlp_forward_passes;
  costs.left_bytes += mlp.left_bytes;
  costs.forward_passes += mlp.forward_passes;
  costs.backward_passes += mlp.backward_passes;
  return costs;
}

ModuleCosts costs_of(const MambaOptions& o, const RankSizes& sizes) {
  ModuleCosts costs = costs_of_pair(o.sequence_parallel);
  const std::int64_t projected = o.inner() + o.conv_channels() + o.heads;
  costs.multiplied_weights = o.hidden * (projected + o.inner());
  costs.state_elements = o.inner() * o.state_size;
  // All that in_proj gives, the convolution's result, the scan's, and perhaps the gated norm's.
  costs.kept_bytes =
      norm_bytes(o.norm, sizes) + (projected + o.conv_channels() + (o.keeps_gated_norm ? 2 : 1) * o.inner()) /
                                      sizes.tensor_ranks * sizes.element_bytes;
  // In front the residual sum or its norm, and the gradient of all that in_proj gives; behind what the gated norm
  // takes, of which the gate is a part of all that, or its output, and the output's gradient.
  const std::int64_t residual = stream(o.hidden, o.sequence_parallel, sizes);
  costs.left_bytes =
      (residual + ((o.keeps_gated_norm ? 0 : projected) + o.inner()) / sizes.tensor_ranks) * sizes.element_bytes;
  if (leaves_column(o.sequence_parallel, sizes))
    costs.left_bytes += (residual + projected / sizes.tensor_ranks) * sizes.element_bytes;
  return costs;
}

ParameterSpecs parameters_of(const EmbeddingOptions& o) {
  ParameterSpecs list = {word_embedding(o.padded_vocabulary, o.hidden, o.weight, o.vocabulary)};
  if (o.weight_has_copy) list.back().gradient_axes = kTiedAxes;
  if (o.positions > 0) list.push_back({"embedding.position_embeddings.weight", {{o.positions, o.hidden}}, o.weight});
  return list;
}

ModuleCosts costs_of(const EmbeddingOptions& options, const RankSizes&) {
  ModuleCosts costs;
  // A sum over the ranks' shares of the vocabulary, for all; under sequence parallelism a scattered one,
  // unless learned positions are added to whole rows.
  costs.forward_passes = options.sequence_parallel && options.positions == 0 ? 1 : 2;
  costs.backward_passes = options.sequence_parallel ? 1 : 0;
  return costs;
}

ParameterSpecs parameters_of(const OutputOptions& o) {
  ParameterSpecs list = norm_parameters(o.norm, o.norm_name + ".weight", o.norm_name + ".bias");
  if (!o.tied) {
    list.push_back(
        {"output_layer.weight", {{o.padded_vocabulary, o.norm.width}, 0}, o.weight, kDataContextAxes, o.vocabulary});
  } else if (o.holds_copy) {
    list.push_back(word_embedding(o.padded_vocabulary, o.norm.width, o.weight, o.vocabulary));
    list.back().gradient_axes = kTiedAxes;
    list.back().is_copy = true;
  }
  return list;
}

ModuleCosts costs_of(const OutputOptions& options, const RankSizes& sizes) {
  ModuleCosts costs;
  costs.multiplied_weights = options.norm.width * options.padded_vocabulary;
  // Beside what the norm keeps its output, which the loss needs, and that one's gradient, which it makes.
  costs.kept_bytes = norm_bytes(options.norm, sizes) +
                     2 * stream(options.norm.width, options.norm.gradient_is_partial, sizes) * sizes.element_bytes;
  // The logits, whose memory their gradient takes.
  costs.passing_bytes = options.padded_vocabulary / sizes.tensor_ranks * sizes.element_bytes;
  // Under sequence parallelism the input is gathered and its gradient scattered, else that is summed.
  costs.forward_passes = options.sequence_parallel ? 1 : 0;
  costs.backward_passes = options.sequence_parallel ? 1 : 2;
  return costs;
}

}  // namespace ringtron
