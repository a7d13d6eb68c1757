// The mask of one sample of a run that is one document, and its window. Without LibTorch, so that tools can plan.
#pragma once

#include "ringtron/config/config.h"
#include "ringtron/context_parallel/plan/attention_mask.h"

namespace ringtron {

// --window-size.
AttentionWindow attention_window(const ModelConfig& model);

AttentionMask sample_mask(const Config& config);

}  // namespace ringtron
