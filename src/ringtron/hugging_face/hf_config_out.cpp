// config.json of a model of ours, for the family that has all it has.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/hugging_face/hf_model.h"

namespace ringtron {
namespace {

using Json = nlohmann::ordered_json;

// What a family must have: a flag's words, and whether the model is so.
struct Trait {
  std::string_view flags;
  bool holds;
};

std::vector<std::string> what_is_missing(std::initializer_list<Trait> traits) {
  std::vector<std::string> out;
  for (const Trait& trait : traits) {
    if (!trait.holds) out.emplace_back(trait.flags);
  }
  return out;
}

std::vector<std::string> missing_of_gpt2(const ModelConfig& m) {
  return what_is_missing(
      {{"--normalization LayerNorm", m.normalization == Normalization::layer_norm},
       {"biases", m.add_bias_linear},
       {"GELU", !m.swiglu && !m.squared_relu},
       {"no --group-query-attention", m.num_query_groups == m.num_attention_heads},
       {"--kv-channels x heads = --hidden-size", m.kv_channels * m.num_attention_heads == m.hidden_size},
       {"no --window-size", m.window_size.empty()},
       {"no --qk-layernorm", !m.qk_layernorm}});
}

std::vector<std::string> missing_of_llama_like(const ModelConfig& m) {
  return what_is_missing({{"--normalization RMSNorm", m.normalization == Normalization::rms_norm},
                          {"--swiglu", m.swiglu},
                          {"--disable-bias-linear", !m.add_bias_linear},
                          {"--position-embedding-type learned_absolute, rope or yarn", m.is_rotary()},
                          {"no --rotary-interleaved", !m.rotary_interleaved},
                          {"--qk-layernorm or --add-qkv-bias, not both", !m.qk_layernorm || !m.add_qkv_bias},
                          {"--use-rope-scaling without --rotary-seq-len-interpolation-factor",
                           !m.use_rope_scaling || m.rotary_seq_len_interpolation_factor == 0}});
}

// rope_scaling as all versions of transformers read it; null: none.
Json rope_scaling_of(const ModelConfig& m) {
  if (m.position_embedding_type == PositionEmbedding::yarn) {
    Json yarn = {{"rope_type", "yarn"},
                 {"factor", m.rotary_scaling_factor},
                 {"original_max_position_embeddings", m.yarn_original_max_position_embeddings},
                 {"beta_fast", m.yarn_beta_fast},
                 {"beta_slow", m.yarn_beta_slow},
                 {"truncate", m.yarn_correction_range_round_to_int}};
    const auto scale = [&](double by) { return 0.1 * by * std::log(m.rotary_scaling_factor) + 1.0; };
    if (m.mscale != 0 && m.mscale_all_dim != 0) {
      yarn["mscale"] = m.mscale;
      yarn["mscale_all_dim"] = m.mscale_all_dim;
    } else if (m.mscale != 1.0 || m.mscale_all_dim != 0) {
      yarn["attention_factor"] = scale(m.mscale) / scale(m.mscale_all_dim);
    }
    return yarn;
  }
  if (m.use_rope_scaling) {
    return {{"rope_type", "llama3"},
            {"factor", m.rope_scaling_factor},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 8192}};
  }
  if (m.rotary_seq_len_interpolation_factor > 0)
    return {{"rope_type", "linear"}, {"factor", m.rotary_seq_len_interpolation_factor}};
  return nullptr;
}

Json gpt2_members(const ModelConfig& m) {
  return {{"n_layer", m.num_layers},
          {"n_embd", m.hidden_size},
          {"n_head", m.num_attention_heads},
          {"n_inner", m.ffn_hidden_size},
          {"n_positions", m.max_position_embeddings},
          {"layer_norm_epsilon", m.norm_epsilon},
          {"activation_function", m.openai_gelu || m.bias_gelu_fusion ? "gelu_new" : "gelu"}};
}

Json llama_like_members(const ModelConfig& m, HfFamily family) {
  Json out = {{"num_hidden_layers", m.num_layers},
              {"hidden_size", m.hidden_size},
              {"intermediate_size", m.ffn_hidden_size},
              {"num_attention_heads", m.num_attention_heads},
              {"num_key_value_heads", m.num_query_groups},
              {"head_dim", m.kv_channels},
              {"max_position_embeddings", m.max_position_embeddings},
              {"rms_norm_eps", m.norm_epsilon},
              {"hidden_act", "silu"},
              {"rope_theta", m.rotary_base}};
  if (m.rotary_percent != 1.0) out["partial_rotary_factor"] = m.rotary_percent;
  if (Json scaling = rope_scaling_of(m); !scaling.is_null()) out["rope_scaling"] = std::move(scaling);
  const bool windowed = !m.window_size.empty() && m.window_size.front() >= 0;
  if (family == HfFamily::llama || family == HfFamily::qwen3) out["attention_bias"] = false;
  if (family == HfFamily::llama) out["mlp_bias"] = false;
  if (family == HfFamily::llama) return out;
  out["sliding_window"] = windowed ? Json(m.window_size.front() + 1) : Json(nullptr);
  if (family == HfFamily::mistral) return out;
  out["use_sliding_window"] = windowed;
  out["max_window_layers"] = windowed ? 0 : m.num_layers;
  return out;
}

std::string_view torch_name(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
    case DType::f64:
      return "float64";
    default:
      return "float32";
  }
}

std::string_view architecture_of(HfFamily family) {
  switch (family) {
    case HfFamily::llama:
      return "LlamaForCausalLM";
    case HfFamily::mistral:
      return "MistralForCausalLM";
    case HfFamily::qwen2:
      return "Qwen2ForCausalLM";
    case HfFamily::qwen3:
      return "Qwen3ForCausalLM";
    case HfFamily::gpt2:
      break;
  }
  return "GPT2LMHeadModel";
}

}  // namespace

HfFamily family_of(const ModelConfig& m) {
  const bool is_gpt2 = m.position_embedding_type == PositionEmbedding::learned_absolute;
  std::vector<std::string> missing = is_gpt2 ? missing_of_gpt2(m) : missing_of_llama_like(m);
  for (std::string& other : what_is_missing({{"--softmax-type vanilla", m.softmax_type == SoftmaxKind::vanilla},
                                             {"no --hybrid-layer-pattern", m.hybrid_layer_pattern.empty()},
                                             {"no --apply-layernorm-1p", !m.apply_layernorm_1p}}))
    missing.push_back(std::move(other));
  if (!missing.empty()) {
    throw ConfigError(
        fmt::format("no architecture of Hugging Face that is known here ({}) is this model: it would need {}",
                    is_gpt2 ? "GPT-2" : "Llama, Mistral, Qwen2, Qwen3", join(missing, "; ")));
  }
  if (is_gpt2) return HfFamily::gpt2;
  if (m.qk_layernorm) return HfFamily::qwen3;
  if (m.add_qkv_bias) return HfFamily::qwen2;
  return !m.window_size.empty() && m.window_size.front() >= 0 ? HfFamily::mistral : HfFamily::llama;
}

Json hf_config_of(const ModelConfig& model, std::int64_t vocabulary, DType dtype) {
  const HfFamily family = family_of(model);
  Json out = {{"architectures", {architecture_of(family)}}, {"model_type", model_type_of(family)}};
  out.update(family == HfFamily::gpt2 ? gpt2_members(model) : llama_like_members(model, family));
  out["tie_word_embeddings"] = !model.untie_embeddings_and_output_weights;
  out["vocab_size"] = vocabulary;
  out["torch_dtype"] = torch_name(dtype);
  return out;
}

}  // namespace ringtron
