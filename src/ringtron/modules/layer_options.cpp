#include "ringtron/modules/layer_options.h"

#include <algorithm>
#include <cmath>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// Of a weight matrix: N(0, std), or --init-method-xavier-uniform, which replaces both standard deviations.
Initial weight_initial(const ResolvedConfig& config, double std) {
  if (config->precision.init_method_xavier_uniform) return {Initial::Kind::xavier_uniform};
  return Initial::normal(std);
}

Initial weight_initial(const ResolvedConfig& config) {
  return weight_initial(config, config->precision.init_method_std);
}

// Of a matrix whose result is added to the residual stream: two of each transformer layer, one of a hybrid model's.
Initial residual_weight_initial(const ResolvedConfig& config) {
  const double added = (config->model.hybrid_layer_pattern.empty() ? 2.0 : 1.0) * config->model.num_layers;
  return weight_initial(config, config->precision.init_method_std / std::sqrt(added));
}

// Outputs of norms and activations. To compute them again takes a time that grows with the hidden size, where products
// grow with its square: 1 % of a step at 4096, 3 to 4 % at 768, where memory is seldom short. Who asks for any
// recomputation wants memory.
constexpr std::int64_t kLeastHiddenComputedAgain = 2048;

bool keeps_linear_inputs(const ResolvedConfig& config) {
  return config->model.hidden_size < kLeastHiddenComputedAgain && !config->recompute.granularity;
}

NormOptions norm_options(const ResolvedConfig& config, std::int64_t width, bool gradient_is_partial) {
  NormOptions norm;
  norm.width = width;
  norm.epsilon = config->model.norm_epsilon;
  norm.rms = config->model.normalization == Normalization::rms_norm;
  norm.zero_centred = config->model.apply_layernorm_1p;
  norm.gradient_is_partial = gradient_is_partial;
  norm.keeps_output = keeps_linear_inputs(config);
  return norm;
}

// Of hidden states.
NormOptions norm_options(const ResolvedConfig& config) {
  return norm_options(config, config->model.hidden_size, config->parallel.sequence_parallel);
}

AttentionOptions attention_options(const ResolvedConfig& config) {
  const ModelConfig& m = config->model;
  AttentionOptions attention;
  attention.hidden = m.hidden_size;
  attention.heads = m.num_attention_heads;
  attention.groups = m.num_query_groups;
  attention.head_size = m.kv_channels;
  attention.qkv_bias = m.add_qkv_bias;
  attention.output_bias = m.add_bias_linear;
  // Heads are divided over the group, so each rank's gradient covers its own heads only.
  if (m.qk_layernorm) attention.qk_norm = norm_options(config, m.kv_channels, /*gradient_is_partial=*/true);
  attention.softmax = m.softmax_type;
  attention.rotary_interleaved = m.rotary_interleaved;
  attention.dropout = config->precision.attention_dropout;
  attention.qkv_weight = weight_initial(config);
  attention.output_weight = residual_weight_initial(config);
  attention.sequence_parallel = config->parallel.sequence_parallel;
  return attention;
}

Activation activation(const ModelConfig& m) {
  if (m.swiglu) return Activation::swiglu;
  if (m.squared_relu) return Activation::squared_relu;
  // Megatron's fused bias-GELU, its default where there are biases, is the tanh form; unfused it is the exact
  // one.
  if (m.openai_gelu || (m.add_bias_linear && m.bias_gelu_fusion)) return Activation::gelu_tanh;
  return Activation::gelu_erf;
}

MlpOptions mlp_options(const ResolvedConfig& config) {
  const ModelConfig& m = config->model;
  MlpOptions mlp;
  mlp.hidden = m.hidden_size;
  mlp.ffn = m.ffn_hidden_size;
  mlp.activation = activation(m);
  mlp.bias = m.add_bias_linear;
  mlp.up_weight = weight_initial(config);
  mlp.down_weight = residual_weight_initial(config);
  mlp.sequence_parallel = config->parallel.sequence_parallel;
  mlp.keeps_activation = keeps_linear_inputs(config);
  return mlp;
}

// The letters are checked by the rules of config/.
LayerKind kind_of(char letter) {
  return letter == 'M' ? LayerKind::mamba : letter == '*' ? LayerKind::attention : LayerKind::mlp;
}

// Whether first and last stage of a pipeline both have the word embedding.
bool has_tied_copy(const ResolvedConfig& config) {
  return config->parallel.pipeline_model_parallel_size > 1 && !config->model.untie_embeddings_and_output_weights;
}

// --recompute-granularity full, of the layers of one stage.
void recompute_whole_layers(const RecomputeConfig& recompute, std::span<LayerSpec> layers) {
  RT_CHECK(recompute.num_layers >= 1, "recomputation of whole layers wants a number of layers");
  const bool block = recompute.method == RecomputeMethod::block;
  const int all = static_cast<int>(layers.size());
  for (int i = 0; i < (block ? std::min(recompute.num_layers, all) : all); ++i) {
    LayerSpec& layer = layers[static_cast<std::size_t>(i)];
    layer.recompute = LayerRecompute::whole;
    layer.joins_previous = !block && i % recompute.num_layers != 0;
  }
}

// --recompute-granularity, -modules, -method and -num-layers.
void set_recompute(const ResolvedConfig& config, std::vector<LayerSpec>& layers) {
  const RecomputeConfig& recompute = config->recompute;
  if (std::ranges::count(recompute.modules, "core_attn") > 0) {
    for (LayerSpec& layer : layers) {
      if (has_attention(layer.kind)) layer.recompute = LayerRecompute::core_attention;
    }
  }
  if (std::ranges::count(recompute.modules, "mlp") > 0) {
    for (LayerSpec& layer : layers) layer.recompute_mlp = has_mlp(layer.kind);
  }
  if (recompute.granularity != RecomputeGranularity::full) return;
  for (const StageRange& stage : stages_of(config)) {
    recompute_whole_layers(recompute, std::span(layers).subspan(static_cast<std::size_t>(stage.first),
                                                                static_cast<std::size_t>(stage.count)));
  }
}

}  // namespace

TransformerOptions transformer_options(const ResolvedConfig& config) {
  return {norm_options(config), attention_options(config), mlp_options(config), config->precision.hidden_dropout};
}

MambaOptions mamba_options(const ResolvedConfig& config) {
  const ModelConfig& m = config->model;
  MambaOptions mamba;
  mamba.hidden = m.hidden_size;
  mamba.heads = m.mamba_num_heads;
  mamba.head_size = m.mamba_head_dim;
  mamba.groups = m.mamba_num_groups;
  mamba.state_size = m.mamba_state_dim;
  mamba.norm = norm_options(config);
  mamba.dropout = config->precision.hidden_dropout;
  mamba.in_weight = weight_initial(config);
  mamba.out_weight = residual_weight_initial(config);
  mamba.sequence_parallel = config->parallel.sequence_parallel;
  mamba.keeps_gated_norm = keeps_linear_inputs(config);
  return mamba;
}

EmbeddingOptions embedding_options(const ResolvedConfig& config, std::int64_t vocabulary) {
  const ModelConfig& m = config->model;
  EmbeddingOptions embedding;
  embedding.hidden = m.hidden_size;
  embedding.padded_vocabulary = m.padded_vocab_size;
  embedding.vocabulary = vocabulary;
  embedding.positions =
      m.position_embedding_type == PositionEmbedding::learned_absolute ? m.max_position_embeddings : 0;
  embedding.dropout = config->precision.hidden_dropout;
  embedding.weight = weight_initial(config);
  embedding.sequence_parallel = config->parallel.sequence_parallel;
  embedding.weight_has_copy = has_tied_copy(config);
  return embedding;
}

OutputOptions output_options(const ResolvedConfig& config, std::int64_t vocabulary) {
  OutputOptions output;
  output.norm = norm_options(config);
  output.norm.keeps_output = false;  // the loss takes it in chunks: it is there either way
  if (!config->model.hybrid_layer_pattern.empty()) output.norm_name = "decoder.final_norm";
  output.padded_vocabulary = config->model.padded_vocab_size;
  output.vocabulary = vocabulary;
  output.tied = !config->model.untie_embeddings_and_output_weights;
  output.holds_copy = has_tied_copy(config);
  output.weight = weight_initial(config);
  output.sequence_parallel = config->parallel.sequence_parallel;
  return output;
}

std::optional<RotaryOptions> rotary_options(const ModelConfig& model) {
  if (!model.is_rotary()) return std::nullopt;
  RotaryOptions options;
  options.head_dim = model.kv_channels;
  options.percent = model.rotary_percent;
  options.base = model.rotary_base;
  options.interleaved = model.rotary_interleaved;
  options.interpolation = model.rotary_seq_len_interpolation_factor;
  options.llama3_scaling = model.use_rope_scaling;
  options.llama3_factor = model.rope_scaling_factor;
  if (model.position_embedding_type != PositionEmbedding::yarn) return options;
  options.yarn = {model.rotary_scaling_factor,
                  static_cast<double>(model.yarn_original_max_position_embeddings),
                  model.yarn_beta_fast,
                  model.yarn_beta_slow,
                  model.yarn_correction_range_round_to_int,
                  model.mscale,
                  model.mscale_all_dim};
  return options;
}

std::vector<StageRange> stages_of(const ResolvedConfig& config) {
  const StageSplit split = split_into_stages(config->parallel, config->model);
  // A tool may look at a command line with faults.
  return split.fault.empty() ? split.stages : std::vector<StageRange>{{0, config->model.num_layers, true, true}};
}

std::vector<LayerSpec> layer_specs(const ResolvedConfig& config, std::span<const CpTransport> transports) {
  std::vector<LayerSpec> layers(static_cast<std::size_t>(config->model.num_layers));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    layers[i].number = static_cast<int>(i);
    if (!config->model.hybrid_layer_pattern.empty()) layers[i].kind = kind_of(config->model.hybrid_layer_pattern.at(i));
    if (!transports.empty()) layers[i].transport = transports[i];
    layers[i].window = attention_window(config->model);
  }
  set_recompute(config, layers);
  return layers;
}

AttentionWindow attention_window(const ModelConfig& model) {
  return model.window_size.size() == 2 ? AttentionWindow{model.window_size[0], model.window_size[1]}
                                       : AttentionWindow{};
}

AttentionMask sample_mask(const ResolvedConfig& config) {
  return AttentionMask(config->model.seq_length, /*causal=*/true, attention_window(config->model));
}

}  // namespace ringtron
