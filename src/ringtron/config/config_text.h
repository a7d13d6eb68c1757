// A whole Config as text: to keep with a checkpoint, to compare between ranks and runs, to print at the
// start.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/config/resolved_config.h"

namespace ringtron {

// (name, value) of every option, sorted by name without regard to case. Names are Megatron's (underscores),
// values as Megatron's dump prints them.
std::vector<std::pair<std::string, std::string>> list_options(const Config& config);

// One "name=value" line per option, sorted; equal texts mean equal configurations. Newlines in values are
// escaped.
std::string fingerprint_text(const Config& config);

// One line per option that differs between two fingerprint texts: "lr: 0.0001 here, 0.0002 there".
std::vector<std::string> diff_fingerprints(std::string_view here, std::string_view there);

// One JSON object with a member per option, typed (numbers, booleans, arrays, null for an absent optional).
// Read back by read_stored_config (stored_config.h).
std::string config_to_json(const Config& config);

// Megatron's start-up listing of all arguments: header, "  name ........ value" lines, footer.
std::vector<std::string> argument_dump(const ResolvedConfig& config);

}  // namespace ringtron
