// GPT's parameters in the order of GptModel's constructor. See parameter_shapes.h.
#include "ringtron/models/parameter_shapes.h"

#include <fmt/format.h>

namespace ringtron {
namespace {

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t length : shape) count *= length;
  return count;
}

class GptShapes {
 public:
  explicit GptShapes(const ModelConfig& model) : m_(model) {}

  std::vector<ParameterShape> list() {
    const std::int64_t h = m_.hidden_size;
    add("embedding.word_embeddings.weight", {{m_.padded_vocab_size, h}, 0});
    if (m_.position_embedding_type == PositionEmbedding::learned_absolute) {
      add("embedding.position_embeddings.weight", {{m_.max_position_embeddings, h}});
    }
    for (int i = 0; i < m_.num_layers; ++i) {
      const std::string prefix = fmt::format("decoder.layers.{}.", i);
      add_attention(prefix + "self_attention.");
      add_mlp(prefix + "mlp.");
    }
    add_norm("decoder.final_layernorm.weight", "decoder.final_layernorm.bias", h);
    if (m_.untie_embeddings_and_output_weights) add("output_layer.weight", {{m_.padded_vocab_size, h}, 0});
    return std::move(shapes_);
  }

 private:
  void add(std::string name, ShardSpec shard) { shapes_.push_back({std::move(name), std::move(shard)}); }

  void add_norm(const std::string& weight, const std::string& bias, std::int64_t width) {
    add(weight, {{width}});
    if (m_.normalization != Normalization::rms_norm) add(bias, {{width}});
  }

  void add_attention(const std::string& prefix) {
    const std::int64_t h = m_.hidden_size, d = m_.kv_channels, n = m_.num_attention_heads,
                       g = m_.num_query_groups;
    const std::int64_t rows = (n + 2 * g) * d;
    add_norm(prefix + "linear_qkv.layer_norm_weight", prefix + "linear_qkv.layer_norm_bias", h);
    add(prefix + "linear_qkv.weight", {{rows, h}, 0});
    if (m_.add_qkv_bias) add(prefix + "linear_qkv.bias", {{rows}, 0});
    if (m_.qk_layernorm) {
      add_norm(prefix + "q_layernorm.weight", prefix + "q_layernorm.bias", d);
      add_norm(prefix + "k_layernorm.weight", prefix + "k_layernorm.bias", d);
    }
    if (m_.softmax_type == SoftmaxKind::learnable) add(prefix + "core_attention.softmax_offset", {{n}, 0});
    add(prefix + "linear_proj.weight", {{h, n * d}, 1});
    if (m_.add_bias_linear) add(prefix + "linear_proj.bias", {{h}});
  }

  void add_mlp(const std::string& prefix) {
    const std::int64_t h = m_.hidden_size, f = m_.ffn_hidden_size, rows = m_.swiglu ? 2 * f : f;
    const std::vector<std::int64_t> parts =
        m_.swiglu ? std::vector<std::int64_t>{f, f} : std::vector<std::int64_t>{};
    add_norm(prefix + "linear_fc1.layer_norm_weight", prefix + "linear_fc1.layer_norm_bias", h);
    add(prefix + "linear_fc1.weight", {{rows, h}, 0, parts});
    if (m_.add_bias_linear) add(prefix + "linear_fc1.bias", {{rows}, 0, parts});
    add(prefix + "linear_fc2.weight", {{h, f}, 1});
    if (m_.add_bias_linear) add(prefix + "linear_fc2.bias", {{h}});
  }

  const ModelConfig& m_;
  std::vector<ParameterShape> shapes_;
};

}  // namespace

std::int64_t ParameterShape::elements() const {
  return product(shard.global_shape);
}

std::int64_t ParameterShape::local_elements(int tp_size) const {
  return product(shard.local_shape(tp_size));
}

std::vector<ParameterShape> gpt_parameter_shapes(const ModelConfig& model) {
  return GptShapes(model).list();
}

}  // namespace ringtron
