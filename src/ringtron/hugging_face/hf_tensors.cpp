#include "ringtron/hugging_face/hf_tensors.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringtron {
namespace {

class Mappings {
 public:
  explicit Mappings(std::string prefix) : prefix_(std::move(prefix)) {}

  void add(const std::string& ours, Shape shape, std::vector<HfRows> parts, bool transposed = false) {
    for (HfRows& part : parts) part.tensor = prefix_ + part.tensor;
    out_.push_back({ours, std::move(shape), transposed, std::move(parts)});
  }
  // One of ours is one of theirs.
  void same(const std::string& ours, const Shape& shape, const std::string& theirs, bool transposed = false) {
    add(ours, shape, {{theirs, 0, shape.front()}}, transposed);
  }
  void same_pair(const std::string& ours, const Shape& shape, const std::string& theirs, bool transposed = false) {
    same(ours + "weight", shape, theirs + ".weight", transposed);
    same(ours + "bias", {shape.front()}, theirs + ".bias");
  }
  // Has no prefix.
  void output_layer(const Shape& shape) {
    out_.push_back({"output_layer.weight", shape, false, {{"lm_head.weight", 0, shape.front()}}});
  }
  std::vector<HfMapping> result() { return std::move(out_); }

 private:
  std::string prefix_;
  std::vector<HfMapping> out_;
};

// Rows of linear_qkv: of each group its query heads, its key, its value.
std::vector<HfRows> qkv_rows(const ModelConfig& m, const std::string& attention, const std::string& kind) {
  const std::int64_t head = m.kv_channels, queries = m.num_attention_heads / m.num_query_groups * head;
  std::vector<HfRows> parts;
  for (std::int64_t group = 0; group < m.num_query_groups; ++group) {
    parts.push_back({attention + "q_proj." + kind, group * queries, queries});
    parts.push_back({attention + "k_proj." + kind, group * head, head});
    parts.push_back({attention + "v_proj." + kind, group * head, head});
  }
  return parts;
}

void add_llama_layer(const ModelConfig& m, int number, Mappings& to) {
  const std::string ours = fmt::format("decoder.layers.{}.", number), theirs = fmt::format("layers.{}.", number);
  const std::string attention = ours + "self_attention.", their_attention = theirs + "self_attn.";
  const std::int64_t hidden = m.hidden_size, heads = std::int64_t{m.num_attention_heads} * m.kv_channels;
  const std::int64_t qkv = heads + 2LL * m.num_query_groups * m.kv_channels, ffn = m.ffn_hidden_size;
  to.same(attention + "linear_qkv.layer_norm_weight", {hidden}, theirs + "input_layernorm.weight");
  to.add(attention + "linear_qkv.weight", {qkv, hidden}, qkv_rows(m, their_attention, "weight"));
  if (m.add_qkv_bias) to.add(attention + "linear_qkv.bias", {qkv}, qkv_rows(m, their_attention, "bias"));
  if (m.qk_layernorm) {
    to.same(attention + "q_layernorm.weight", {m.kv_channels}, their_attention + "q_norm.weight");
    to.same(attention + "k_layernorm.weight", {m.kv_channels}, their_attention + "k_norm.weight");
  }
  to.same(attention + "linear_proj.weight", {hidden, heads}, their_attention + "o_proj.weight");
  to.same(ours + "mlp.linear_fc1.layer_norm_weight", {hidden}, theirs + "post_attention_layernorm.weight");
  to.add(ours + "mlp.linear_fc1.weight", {2 * ffn, hidden},
         {{theirs + "mlp.gate_proj.weight", 0, ffn}, {theirs + "mlp.up_proj.weight", 0, ffn}});
  to.same(ours + "mlp.linear_fc2.weight", {hidden, ffn}, theirs + "mlp.down_proj.weight");
}

// Their c_attn has all queries, then all keys, then all values.
std::vector<HfRows> gpt2_qkv_rows(const ModelConfig& m, const std::string& tensor) {
  const std::int64_t head = m.kv_channels, hidden = m.hidden_size;
  std::vector<HfRows> parts;
  for (std::int64_t i = 0; i < m.num_attention_heads; ++i) {
    for (std::int64_t kind = 0; kind < 3; ++kind) parts.push_back({tensor, kind * hidden + i * head, head});
  }
  return parts;
}

void add_gpt2_layer(const ModelConfig& m, int number, Mappings& to) {
  const std::string ours = fmt::format("decoder.layers.{}.", number), theirs = fmt::format("h.{}.", number);
  const std::string attention = ours + "self_attention.";
  const std::int64_t hidden = m.hidden_size, ffn = m.ffn_hidden_size;
  to.same_pair(attention + "linear_qkv.layer_norm_", {hidden}, theirs + "ln_1");
  to.add(attention + "linear_qkv.weight", {3 * hidden, hidden}, gpt2_qkv_rows(m, theirs + "attn.c_attn.weight"), true);
  to.add(attention + "linear_qkv.bias", {3 * hidden}, gpt2_qkv_rows(m, theirs + "attn.c_attn.bias"));
  to.same_pair(attention + "linear_proj.", {hidden, hidden}, theirs + "attn.c_proj", true);
  to.same_pair(ours + "mlp.linear_fc1.layer_norm_", {hidden}, theirs + "ln_2");
  to.same_pair(ours + "mlp.linear_fc1.", {ffn, hidden}, theirs + "mlp.c_fc", true);
  to.same_pair(ours + "mlp.linear_fc2.", {hidden, ffn}, theirs + "mlp.c_proj", true);
}

}  // namespace

std::string_view usual_prefix(HfFamily family) { return family == HfFamily::gpt2 ? "transformer." : "model."; }

std::vector<HfMapping> hf_mappings(HfFamily family, const ModelConfig& m, std::int64_t vocabulary,
                                   const std::string& prefix) {
  Mappings to(prefix);
  const std::int64_t hidden = m.hidden_size;
  if (family == HfFamily::gpt2) {
    to.same("embedding.word_embeddings.weight", {vocabulary, hidden}, "wte.weight");
    to.same("embedding.position_embeddings.weight", {m.max_position_embeddings, hidden}, "wpe.weight");
    for (int i = 0; i < m.num_layers; ++i) add_gpt2_layer(m, i, to);
    to.same_pair("decoder.final_layernorm.", {hidden}, "ln_f");
  } else {
    to.same("embedding.word_embeddings.weight", {vocabulary, hidden}, "embed_tokens.weight");
    for (int i = 0; i < m.num_layers; ++i) add_llama_layer(m, i, to);
    to.same("decoder.final_layernorm.weight", {hidden}, "norm.weight");
  }
  if (m.untie_embeddings_and_output_weights) to.output_layer({vocabulary, hidden});
  return to.result();
}

std::map<std::string, HfTensor> hf_tensors(const std::vector<HfMapping>& mappings) {
  std::map<std::string, HfTensor> out;
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    const HfMapping& mapping = mappings[i];
    std::int64_t our_row = 0;
    for (const HfRows& part : mapping.parts) {
      HfTensor& theirs = out[part.tensor];
      if (theirs.shape.empty()) {
        theirs.shape = mapping.shape;
        if (mapping.transposed) std::swap(theirs.shape[0], theirs.shape[1]);
        theirs.shape[mapping.transposed ? 1 : 0] = 0;
      }
      theirs.shape[mapping.transposed ? 1 : 0] += part.rows;
      theirs.sources.push_back({i, our_row, part.from, part.rows});
      our_row += part.rows;
    }
  }
  for (auto& [name, theirs] : out) std::ranges::sort(theirs.sources, {}, &HfSource::their_row);
  return out;
}

bool holds_no_weight(std::string_view name, bool is_tied) {
  // Tables and masks that older versions of transformers have saved.
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attn.bias") ||
         name.ends_with(".attn.masked_bias") || (is_tied && name == "lm_head.weight");
}

}  // namespace ringtron
