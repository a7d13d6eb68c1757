// What a report says of a run in single numbers and sentences.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/tools/report/run_log.h"

namespace ringtron {

// The median over the log lines; NaN where no line has the number.
double median_of(const RunLog& run, std::string_view number);

// A label, and for each run what it has: "12,000 of 12,000", "41.6 GiB"; empty where its log does not tell. Labels of
// which no run has anything are left out.
std::vector<std::pair<std::string, std::vector<std::string>>> facts_of(std::span<const RunLog> runs,
                                                                       std::optional<double> peak_tflops);

// What a reader must know of how a log was read: seams, lines that were cut, where there is nothing to say.
std::vector<std::string> notes_of(const RunLog& run);

// Whether two values of an option are the same, as text or as numbers ("1e-05" and "0.00001"). An option that one run
// does not have (nullptr) is another.
bool same_option(const std::string* here, const std::string* there);

}  // namespace ringtron
