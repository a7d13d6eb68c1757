#include "ringtron/modules/attention_config.h"

namespace ringtron {

AttentionWindow attention_window(const ModelConfig& model) {
  return model.window_size.size() == 2 ? AttentionWindow{model.window_size[0], model.window_size[1]}
                                       : AttentionWindow{};
}

SoftmaxKind softmax_kind(const std::string& type) {
  if (type == "off-by-one") return SoftmaxKind::off_by_one;
  return type == "learnable" ? SoftmaxKind::learnable : SoftmaxKind::vanilla;
}

CpAttentionOptions cp_attention_options(const Config& config, CpAttentionOptions options) {
  options.deterministic = config.precision.deterministic_mode;
  const auto& sizes = config.parallel.hierarchical_context_parallel_sizes;
  options.hierarchical_a = sizes.empty() ? 1 : sizes[0];
  return options;
}

}  // namespace ringtron
