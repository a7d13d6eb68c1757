// A report of one run, or of two laid over each other: one HTML file that needs nothing else, and no network.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "ringtron/tools/report/run_log.h"

namespace ringtron {

// `runs`: one or two. `peak_tflops` of one device, in place of what the logs say.
std::string report_page(std::span<const RunLog> runs, std::optional<double> peak_tflops);

}  // namespace ringtron
