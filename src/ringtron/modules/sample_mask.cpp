#include "ringtron/modules/sample_mask.h"

namespace ringtron {

AttentionWindow attention_window(const ModelConfig& model) {
  return model.window_size.size() == 2 ? AttentionWindow{model.window_size[0], model.window_size[1]}
                                       : AttentionWindow{};
}

AttentionMask sample_mask(const Config& config) {
  return AttentionMask(config.model.seq_length, /*causal=*/true, attention_window(config.model));
}

}  // namespace ringtron
