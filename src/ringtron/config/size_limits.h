// How large sizes may be. Within these limits no count of parameters, bytes or positions leaves 64 bits.
#pragma once

#include <string>
#include <vector>

#include "ringtron/config/config.h"

namespace ringtron {

// "--num-layers 2000000 (at most 16384)" for each size of a filled in configuration that is beyond its limit. `given`:
// before it was filled in, for the names: a value that was not given and is too large because another one is, is not
// named.
std::vector<std::string> sizes_beyond_limits(const Config& given, const Config& filled);

}  // namespace ringtron
