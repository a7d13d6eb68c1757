// config.json to flags and back.
#include "ringtron/hugging_face/hf_model.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "tests/hugging_face/small_models.h"

namespace ringtron {
namespace {

using testing::ChangedModel;
using ::testing::HasSubstr;
using testing::small_model;
using Json = nlohmann::json;

void expect_refused(const std::string& name, const std::function<void(Json& config)>& change,
                    const std::string& message) {
  const ChangedModel model(name, change);
  EXPECT_THAT([&] { read_hf_config(model.folder()); }, ::testing::ThrowsMessage<IoError>(HasSubstr(message)));
}

ModelConfig changed(const std::string& name, const std::function<void(Json& config)>& change) {
  return read_hf_config(ChangedModel(name, change).folder()).config.model;
}

TEST(HfModel, Llama) {
  const HfModel model = read_hf_config(small_model("llama3"));
  EXPECT_EQ(model.family, HfFamily::llama);
  EXPECT_EQ(model.vocabulary, 32);
  const ModelConfig& m = model.config.model;
  EXPECT_EQ(m.num_layers, 2);
  EXPECT_EQ(m.hidden_size, 16);
  EXPECT_EQ(m.num_attention_heads, 4);
  EXPECT_EQ(m.num_query_groups, 2);
  EXPECT_TRUE(m.group_query_attention);
  EXPECT_EQ(m.kv_channels, 8);
  EXPECT_EQ(m.ffn_hidden_size, 24);
  EXPECT_TRUE(m.swiglu);
  EXPECT_FALSE(m.add_bias_linear || m.add_qkv_bias || m.qk_layernorm || m.untie_embeddings_and_output_weights);
  EXPECT_EQ(m.normalization, Normalization::rms_norm);
  EXPECT_EQ(m.norm_epsilon, 1e-5);
  EXPECT_EQ(m.position_embedding_type, PositionEmbedding::rope);
  EXPECT_TRUE(m.use_rope_scaling);
  EXPECT_EQ(m.rope_scaling_factor, 8.0);
  EXPECT_EQ(m.rotary_base, 500000.0);
  EXPECT_EQ(model.config.precision.hidden_dropout, 0.0);
}

TEST(HfModel, OtherFamilies) {
  EXPECT_EQ(read_hf_config(small_model("llama2")).config.model.rotary_seq_len_interpolation_factor, 2.0);
  EXPECT_EQ(read_hf_config(small_model("mistral")).config.model.window_size, (std::vector<int>{5, 0}));
  const ModelConfig qwen2 = read_hf_config(small_model("qwen2")).config.model;
  EXPECT_TRUE(qwen2.add_qkv_bias && !qwen2.add_bias_linear && qwen2.window_size.empty());
  EXPECT_EQ(qwen2.position_embedding_type, PositionEmbedding::yarn);
  EXPECT_EQ(qwen2.rotary_scaling_factor, 4.0);
  EXPECT_EQ(qwen2.yarn_original_max_position_embeddings, 16);
  EXPECT_TRUE(read_hf_config(small_model("qwen3")).config.model.qk_layernorm);
  const HfModel gpt2 = read_hf_config(small_model("gpt2"));
  EXPECT_EQ(gpt2.config.model.ffn_hidden_size, 64);
  EXPECT_TRUE(gpt2.config.model.add_bias_linear && gpt2.config.model.add_qkv_bias);
  EXPECT_EQ(gpt2.config.model.position_embedding_type, PositionEmbedding::learned_absolute);
  EXPECT_EQ(gpt2.config.precision.attention_dropout, 0.1);
}

// As transformers wrote rope scalings before version 5.
TEST(HfModel, OlderSpellings) {
  const ModelConfig yarn = changed("qwen2", [](Json& config) {
    config.erase("rope_parameters");
    config["rope_theta"] = 1000000.0;
    config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  });
  EXPECT_EQ(yarn.position_embedding_type, PositionEmbedding::yarn);
  EXPECT_EQ(yarn.rotary_base, 1000000.0);
  EXPECT_EQ(yarn.yarn_original_max_position_embeddings, 32768);
  const ModelConfig plain = changed("llama3", [](Json& config) {
    config.erase("rope_parameters");
    config.erase("head_dim");
    config["rope_scaling"] = nullptr;
  });
  EXPECT_EQ(plain.rotary_base, 10000.0);
  EXPECT_EQ(plain.kv_channels, 4);
  EXPECT_FALSE(plain.use_rope_scaling);
}

TEST(HfModel, YarnWithAnAttentionFactor) {
  const ModelConfig m = changed("qwen2", [](Json& config) { config["rope_parameters"]["attention_factor"] = 1.3; });
  EXPECT_NEAR(0.1 * m.mscale * std::log(4.0) + 1.0, 1.3, 1e-12);
}

TEST(HfModel, WindowsOfQwen) {
  const auto window = [](int from) {
    return changed("qwen3",
                   [from](Json& config) {
                     config["use_sliding_window"] = true;
                     config["sliding_window"] = 8;
                     config["max_window_layers"] = from;
                   })
        .window_size;
  };
  EXPECT_EQ(window(0), (std::vector<int>{7, 0}));
  EXPECT_TRUE(window(2).empty());
  expect_refused(
      "qwen3",
      [](Json& config) {
        config["use_sliding_window"] = true;
        config["sliding_window"] = 8;
        config["max_window_layers"] = 1;
      },
      "max_window_layers: expected 0 or the number of layers");
}

TEST(HfModel, RefusesWhatIsNotBuilt) {
  expect_refused(
      "llama3", [](Json& c) { c["model_type"] = "mixtral"; },
      "config.json: model_type: expected one of llama (LlamaForCausalLM), mistral (MistralForCausalLM), "
      "qwen2 (Qwen2ForCausalLM), qwen3 (Qwen3ForCausalLM), gpt2 (GPT2LMHeadModel), got \"mixtral\"");
  expect_refused("llama3", [](Json& c) { c.erase("model_type"); }, "model_type: expected one of llama");
  expect_refused(
      "llama3", [](Json& c) { c["architectures"] = {"LlamaForSequenceClassification"}; },
      "architectures: expected LlamaForCausalLM, got \"LlamaForSequenceClassification\"");
  expect_refused(
      "llama3", [](Json& c) { c["rope_parameters"]["rope_type"] = "longrope"; },
      "rope_parameters.rope_type: expected default, linear, llama3 or yarn, got \"longrope\"");
  expect_refused(
      "llama3", [](Json& c) { c["rope_parameters"]["high_freq_factor"] = 8.0; },
      "rope_parameters.high_freq_factor: expected 4, as in Llama 3.1 to 3.3, got 8.0");
  expect_refused("llama3", [](Json& c) { c["attention_bias"] = true; }, "attention_bias: expected false");
  expect_refused("llama3", [](Json& c) { c["hidden_act"] = "gelu"; }, "hidden_act: expected silu, got \"gelu\"");
  expect_refused(
      "gpt2", [](Json& c) { c["scale_attn_by_inverse_layer_idx"] = true; },
      "scale_attn_by_inverse_layer_idx: expected false");
  expect_refused("gpt2", [](Json& c) { c["activation_function"] = "relu"; }, "activation_function: expected gelu_new");
}

TEST(HfModel, RefusesWhatIsWrong) {
  expect_refused("llama3", [](Json& c) { c.erase("hidden_size"); }, "config.json: hidden_size is missing");
  expect_refused("llama3", [](Json& c) { c["hidden_size"] = "16"; }, "hidden_size: expected a whole number from 1");
  expect_refused("llama3", [](Json& c) { c["num_hidden_layers"] = 0; }, "num_hidden_layers: expected a whole number");
  expect_refused("llama3", [](Json& c) { c["rms_norm_eps"] = "1e-5"; }, "rms_norm_eps: expected a finite number");
  expect_refused("llama3", [](Json& c) { c = Json::array(); }, "config.json: expected an object");
  expect_refused(
      "llama3", [](Json& c) { c["num_key_value_heads"] = 3; },
      "num_key_value_heads: expected a divisor of the 4 heads");
  expect_refused(
      "qwen2", [](Json& c) { c.erase("head_dim"), c["num_attention_heads"] = 6; },
      "hidden_size: expected a multiple of the 6 heads");
  expect_refused(
      "llama3", [](Json& c) { c["num_hidden_layers"] = 1 << 20; },
      "num_hidden_layers: expected a whole number from 1 to 16384");
  expect_refused("gpt2", [](Json& c) { c["n_head"] = 3; }, "n_head: expected a divisor of n_embd 16");
}

// What goes out comes in as the same flags.
TEST(HfModel, ConfigComesBack) {
  for (const char* name : testing::kSmallModels) {
    SCOPED_TRACE(name);
    const HfModel model = read_hf_config(small_model(name));
    const ChangedModel out(name, [&](Json& config) {
      config = Json::parse(hf_config_of(model.config.model, model.vocabulary, DType::bf16).dump());
    });
    const HfModel again = read_hf_config(out.folder());
    EXPECT_EQ(again.family, model.family);
    EXPECT_EQ(again.vocabulary, model.vocabulary);
    EXPECT_EQ(stored_json_of(again), stored_json_of(model));
  }
}

TEST(HfModel, SaysWhatNoFamilyHas) {
  ModelConfig model = read_hf_config(small_model("llama3")).config.model;
  model.rotary_interleaved = true;
  model.softmax_type = SoftmaxKind::learnable;
  EXPECT_THAT([&] { family_of(model); }, ::testing::ThrowsMessage<ConfigError>(
                                             HasSubstr("would need no --rotary-interleaved; --softmax-type vanilla")));
}

}  // namespace
}  // namespace ringtron
