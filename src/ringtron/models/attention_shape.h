// Sizes of the attention of one layer on one tensor-parallel rank, for plans and prices.
#pragma once

#include "ringtron/config/resolved_config.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

// --tensor-model-parallel-size divides the heads and the query groups.
AttentionShape attention_shape(const ResolvedConfig& config);

}  // namespace ringtron
