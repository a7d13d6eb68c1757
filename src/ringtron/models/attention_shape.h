// Sizes of the attention of one layer on one tensor-parallel rank, for plans and prices.
#pragma once

#include "ringtron/config/config.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

// `config` is resolved, and --tensor-model-parallel-size divides the heads and the query groups.
AttentionShape attention_shape(const Config& config);

}  // namespace ringtron
