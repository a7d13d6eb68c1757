// Which operations of a step on a GPU no fused kernel takes, and why: a line each, so that nobody wonders about the
// speed.
#pragma once

#include <string>
#include <vector>

#include "ringtron/config/resolved_config.h"

namespace ringtron {

// "norm, activation, ... run as single operations, slower: ...". Of a run on GPUs; empty where all is fused. The
// conditions are those of kernels/{norm,activation,qkv,cross_entropy,adamw,ssd_scan}.
std::vector<std::string> unfused_operations(const ResolvedConfig& config);

}  // namespace ringtron
