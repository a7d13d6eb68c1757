#include "ringtron/hugging_face/hf_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/strict_json.h"
#include "ringtron/config/config_text.h"

namespace ringtron {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLargest = std::int64_t{1} << 28;  // of any size; products are checked by config's rules
constexpr std::int64_t kMostHeads = std::int64_t{1} << 14, kMostLayers = kMostHeads;

struct Family {
  HfFamily family;
  std::string_view model_type, architecture;
};

constexpr Family kFamilies[] = {{HfFamily::llama, "llama", "LlamaForCausalLM"},
                                {HfFamily::mistral, "mistral", "MistralForCausalLM"},
                                {HfFamily::qwen2, "qwen2", "Qwen2ForCausalLM"},
                                {HfFamily::qwen3, "qwen3", "Qwen3ForCausalLM"},
                                {HfFamily::gpt2, "gpt2", "GPT2LMHeadModel"}};

const Family& row_of(HfFamily family) { return *std::ranges::find(kFamilies, family, &Family::family); }

std::string known_families() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies)
    names.push_back(fmt::format("{} ({})", family.model_type, family.architecture));
  return join(names, ", ");
}

// One JSON object, whose members may be absent or null.
class Members {
 public:
  Members(const Json& json, std::string where) : json_(&json), where_(std::move(where)) {}

  bool has(const char* name) const { return json_->contains(name) && !json_->at(name).is_null(); }

  int size(const char* name, std::int64_t most = kLargest) const {
    return static_cast<int>(integer(member(*json_, name, where_), path(name), 1, most));
  }
  int size_or(const char* name, int otherwise) const { return has(name) ? size(name) : otherwise; }

  double number(const char* name) const {
    const Json& value = member(*json_, name, where_);
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      throw IoError(fmt::format("{}: expected a finite number, got {}", path(name), shown(value)));
    return value.get<double>();
  }
  double number_or(const char* name, double otherwise) const { return has(name) ? number(name) : otherwise; }

  bool flag_or(const char* name, bool otherwise) const {
    return has(name) ? bool_member(*json_, name, where_) : otherwise;
  }
  std::string text_or(const char* name, std::string otherwise) const {
    return has(name) ? text_member(*json_, name, where_) : otherwise;
  }
  std::optional<Members> object(const char* name) const {
    if (!has(name)) return std::nullopt;
    return Members(object_member(*json_, name, where_), path(name));
  }
  const Json& json() const { return *json_; }
  std::string path(const char* name) const { return where_.empty() ? name : where_ + "." + name; }

  // A member that asks for what is not there.
  [[noreturn]] void refuse(const char* name, const std::string& expected) const {
    throw IoError(
        fmt::format("{}: expected {}, got {}", path(name), expected, has(name) ? shown(json_->at(name)) : "none"));
  }
  void require_false(const char* name, const std::string& why) const {
    if (flag_or(name, false)) refuse(name, "false: " + why);
  }

 private:
  const Json* json_;
  std::string where_;
};

HfFamily read_family(const Members& config) {
  const std::string type = config.text_or("model_type", "");
  const auto* family = std::ranges::find(kFamilies, type, &Family::model_type);
  if (family == std::end(kFamilies)) config.refuse("model_type", "one of " + known_families());
  if (config.has("architectures")) {
    const Json& names = array_member(config.json(), "architectures", "");
    const bool is_it = std::ranges::any_of(
        names, [&](const Json& name) { return name.is_string() && name.get<std::string>() == family->architecture; });
    if (!names.empty() && !is_it) {
      throw IoError(fmt::format("architectures: expected {}, got {}", family->architecture, shown(names.front())));
    }
  }
  return family->family;
}

// Llama 3's rule with the numbers that all models of Llama 3.1 to 3.3 have.
void read_llama3(const Members& rope, ModelConfig& model) {
  model.use_rope_scaling = true;
  model.rope_scaling_factor = rope.number("factor");
  const std::pair<const char*, double> fixed[] = {
      {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192.0}};
  for (const auto& [name, value] : fixed) {
    if (rope.number(name) != value) rope.refuse(name, fmt::format("{:g}, as in Llama 3.1 to 3.3", value));
  }
}

void read_yarn(const Members& rope, ModelConfig& model) {
  model.position_embedding_type = PositionEmbedding::yarn;
  model.rotary_scaling_factor = rope.number("factor");
  model.yarn_original_max_position_embeddings =
      rope.size_or("original_max_position_embeddings", model.max_position_embeddings);
  model.yarn_beta_fast = rope.number_or("beta_fast", model.yarn_beta_fast);
  model.yarn_beta_slow = rope.number_or("beta_slow", model.yarn_beta_slow);
  model.yarn_correction_range_round_to_int = rope.flag_or("truncate", true);
  const double of_all = rope.number_or("mscale_all_dim", 0.0), of_some = rope.number_or("mscale", 0.0);
  if (rope.has("attention_factor") && model.rotary_scaling_factor > 1.0) {
    model.mscale = (rope.number("attention_factor") - 1.0) / (0.1 * std::log(model.rotary_scaling_factor));
    if (model.mscale < 0) rope.refuse("attention_factor", "at least 1");
  } else if (of_all != 0 && of_some != 0) {  // either alone has no effect in transformers
    model.mscale = of_some;
    model.mscale_all_dim = of_all;
  }
}

// `rope_parameters` of transformers 5, or `rope_scaling` and `rope_theta` before it.
void read_rope(const Members& config, ModelConfig& model) {
  model.position_embedding_type = PositionEmbedding::rope;
  model.rotary_base = config.number_or("rope_theta", 10000.0);
  auto rope = config.object("rope_parameters");
  if (!rope) rope = config.object("rope_scaling");
  if (!rope) return;
  model.rotary_base = rope->number_or("rope_theta", model.rotary_base);
  model.rotary_percent = rope->number_or("partial_rotary_factor", config.number_or("partial_rotary_factor", 1.0));
  const char* name = rope->has("rope_type") ? "rope_type" : "type";
  const std::string type = rope->text_or(name, "");
  if (type == "linear") {
    model.rotary_seq_len_interpolation_factor = rope->number("factor");
  } else if (type == "llama3") {
    read_llama3(*rope, model);
  } else if (type == "yarn") {
    read_yarn(*rope, model);
  } else if (type != "default") {
    rope->refuse(name, "default, linear, llama3 or yarn");
  }
}

// All layers have the same window, or none.
void read_window(const Members& config, HfFamily family, ModelConfig& model) {
  if (family == HfFamily::llama || !config.has("sliding_window")) return;
  if (family != HfFamily::mistral) {
    if (!config.flag_or("use_sliding_window", false)) return;
    const int without = config.has("max_window_layers") && config.number("max_window_layers") == 0
                            ? 0
                            : config.size_or("max_window_layers", model.num_layers);
    if (without >= model.num_layers) return;
    if (without != 0) config.refuse("max_window_layers", "0 or the number of layers: all have a window, or none");
  }
  model.window_size = {config.size("sliding_window") - 1, 0};
}

// Of Llama, Mistral and Qwen: RMSNorm, SwiGLU, rotary positions.
void read_llama_like(const Members& config, HfFamily family, HfModel& out) {
  ModelConfig& model = out.config.model;
  model.num_layers = config.size("num_hidden_layers", kMostLayers);
  model.hidden_size = config.size("hidden_size");
  model.num_attention_heads = config.size("num_attention_heads", kMostHeads);
  model.ffn_hidden_size = config.size("intermediate_size");
  model.max_position_embeddings = config.size("max_position_embeddings");
  model.num_query_groups = family == HfFamily::llama ? config.size_or("num_key_value_heads", model.num_attention_heads)
                                                     : config.size("num_key_value_heads");
  if (model.num_attention_heads % model.num_query_groups != 0)
    config.refuse("num_key_value_heads", fmt::format("a divisor of the {} heads", model.num_attention_heads));
  model.group_query_attention = model.num_query_groups != model.num_attention_heads;
  if (family == HfFamily::qwen3 || config.has("head_dim")) {
    model.kv_channels = config.size("head_dim");
  } else if (model.hidden_size % model.num_attention_heads == 0) {
    model.kv_channels = model.hidden_size / model.num_attention_heads;
  } else {
    config.refuse("hidden_size", fmt::format("a multiple of the {} heads, or a head_dim", model.num_attention_heads));
  }
  model.normalization = Normalization::rms_norm;
  model.norm_epsilon = config.number("rms_norm_eps");
  if (const std::string act = config.text_or("hidden_act", "silu"); act != "silu" && act != "swish")
    config.refuse("hidden_act", "silu");
  model.swiglu = true;
  model.add_bias_linear = false;
  if (family != HfFamily::qwen2) config.require_false("attention_bias", "a bias of o_proj alone is not built");
  config.require_false("mlp_bias", "biases of the MLP alone are not built");
  model.add_qkv_bias = family == HfFamily::qwen2;
  model.qk_layernorm = family == HfFamily::qwen3;
  model.untie_embeddings_and_output_weights = !config.flag_or("tie_word_embeddings", false);
  read_rope(config, model);
  read_window(config, family, model);
  out.config.precision.hidden_dropout = 0.0;
  out.config.precision.attention_dropout = config.number_or("attention_dropout", 0.0);
}

void read_gpt2(const Members& config, HfModel& out) {
  ModelConfig& model = out.config.model;
  model.num_layers = config.size("n_layer", kMostLayers);
  model.hidden_size = config.size("n_embd");
  model.num_attention_heads = model.num_query_groups = config.size("n_head", kMostHeads);
  model.ffn_hidden_size = config.size_or("n_inner", 4 * model.hidden_size);
  model.max_position_embeddings = config.size("n_positions");
  if (model.hidden_size % model.num_attention_heads != 0)
    config.refuse("n_head", fmt::format("a divisor of n_embd {}", model.hidden_size));
  model.kv_channels = model.hidden_size / model.num_attention_heads;
  model.norm_epsilon = config.number_or("layer_norm_epsilon", 1e-5);
  const std::string act = config.text_or("activation_function", "gelu_new");
  if (act == "gelu") {
    model.bias_gelu_fusion = false;  // the erf form
  } else if (act != "gelu_new" && act != "gelu_pytorch_tanh") {
    config.refuse("activation_function", "gelu_new, gelu_pytorch_tanh or gelu");
  }
  if (!config.flag_or("scale_attn_weights", true)) config.refuse("scale_attn_weights", "true");
  config.require_false("scale_attn_by_inverse_layer_idx", "all layers scale their scores alike");
  config.require_false("add_cross_attention", "there is no encoder");
  model.add_qkv_bias = true;
  model.untie_embeddings_and_output_weights = !config.flag_or("tie_word_embeddings", true);
  out.config.precision.hidden_dropout = config.number_or("resid_pdrop", 0.1);
  out.config.precision.attention_dropout = config.number_or("attn_pdrop", 0.1);
}

// Flags whose values config.json gives.
bool is_determined(const OptionGroup& group, const Option& option) {
  if (group.name != "model") return false;
  return option.on_load == OnLoad::must_equal || option.on_load == OnLoad::finetune ||
         option.on_load == OnLoad::positions || option.name == "--group-query-attention";
}

}  // namespace

std::string_view model_type_of(HfFamily family) { return row_of(family).model_type; }

HfModel read_hf_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const std::string text = read_file(path);
  try {
    const Json json = parse_strict(text);
    if (!json.is_object()) throw IoError("expected an object, got " + shown(json));
    const Members config(json, "");
    HfModel out;
    out.family = read_family(config);
    out.vocabulary = config.size("vocab_size");
    if (out.family == HfFamily::gpt2) {
      read_gpt2(config, out);
    } else {
      read_llama_like(config, out.family, out);
    }
    return out;
  } catch (const IoError& e) {
    throw IoError(fmt::format("{}: {}", path.string(), e.what()));
  }
}

StoredConfig stored_config_of(const HfModel& model) {
  StoredConfig out;
  out.config = model.config;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      if (!is_determined(group, option)) out.absent.emplace_back(option.name);
    }
  }
  return out;
}

Json stored_json_of(const HfModel& model) {
  const Json all = Json::parse(config_to_json(model.config));
  Json out = Json::object();
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      const std::string key = option_key(option);
      if (is_determined(group, option)) out[key] = all.at(key);
    }
  }
  return out;
}

}  // namespace ringtron
