// What Mamba layers send over the context group, for check_cp_config; and words that lists of traffic share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/config/resolved_config.h"

namespace ringtron {

// Empty where there are no such layers, or one context rank.
std::vector<std::string> describe_scan_traffic(const ResolvedConfig& config, std::int64_t micro_batches);

std::string sent_line(const std::string& what, std::int64_t forward, std::int64_t backward);

// Layers as text: "0-31", "0 2 4".
std::string layers_text(const std::vector<int>& layers);

// A sum over a step may be more than fits.
std::int64_t times(std::int64_t count, std::int64_t bytes);

}  // namespace ringtron
