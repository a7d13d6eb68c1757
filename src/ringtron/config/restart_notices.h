// What a command line would do again at every restart: a run that loads from where it saves is started again by the
// same line, and what is meant for the first start alone comes back.
#pragma once

#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/config/notice.h"

namespace ringtron {

// Looks at the disk, to know links to one folder.
std::vector<Notice> restart_notices(const Config& config);

}  // namespace ringtron
