// What the configuration says about attention, in the terms of context_parallel/. `config` is resolved.
#pragma once

#include "ringtron/config/config.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/kernels/rotary/rotary.h"
#include "ringtron/modules/sample_mask.h"

namespace ringtron {

// The rotary flags.
RotaryOptions rotary_options(const ModelConfig& model);

// --deterministic-mode and --hierarchical-context-parallel-sizes.
CpAttentionOptions cp_attention_options(const Config& config);

}  // namespace ringtron
