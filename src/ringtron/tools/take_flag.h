// The flags that a tool has besides those of pretrain_gpt.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

// Takes `name` ("--world-size") and its value out of `words`, wherever it stands; of several the last counts.
// Both spellings, --a-b and --a_b, with "=" or a blank before the value. Throws ConfigError when the value is
// missing.
std::optional<std::string> take_flag(std::vector<std::string>& words, std::string_view name);

// The same for a whole number of at least `least`, and for a number above 0. Throw ConfigError for anything
// else.
std::optional<int> take_count(std::vector<std::string>& words, std::string_view name, int least = 1);
std::optional<double> take_positive(std::vector<std::string>& words, std::string_view name);

}  // namespace ringtron
