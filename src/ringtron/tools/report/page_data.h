// What a report shows of one run or of two, as the JSON that page.js draws.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "ringtron/tools/report/run_log.h"

namespace ringtron {

// Curves are thinned out to at most some thousand points each, so that the size does not grow with the run. `runs`: one
// or two. `peak_tflops` of one device, in place of what the logs say.
std::string page_data(std::span<const RunLog> runs, std::optional<double> peak_tflops);

}  // namespace ringtron
