#include "ringtron/parameter/parameter_kind.h"

#include <string_view>

namespace ringtron {

bool is_decoupled(const ParameterSpec& parameter) {
  return parameter.name == "embedding.word_embeddings.weight" || parameter.name == "output_layer.weight";
}

bool is_hidden_matrix(const ParameterSpec& parameter) {
  const std::string_view name = parameter.name;
  return parameter.shard.global_shape.size() == 2 && !name.starts_with("embedding.") && !is_decoupled(parameter) &&
         !name.ends_with("in_proj.weight");
}

bool is_qkv_matrix(const ParameterSpec& parameter) { return parameter.name.ends_with("linear_qkv.weight"); }

}  // namespace ringtron
