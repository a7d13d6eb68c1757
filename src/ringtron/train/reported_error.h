// An error once more, of the kind it was. Internal to train/.
#pragma once

#include <string>

#include "ringtron/train/agreement.h"

namespace ringtron::internal {

// Throws; `reported`: as one that is ReportedElsewhere.
[[noreturn]] void rethrow(Failure failure, const std::string& message, bool reported);

}  // namespace ringtron::internal
