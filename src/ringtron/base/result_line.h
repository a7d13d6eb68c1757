// What a program was asked to print, when that is all it does: help, a report. Unlike a log line (log.h) its loss is an
// error.
#pragma once

#include <string_view>

namespace ringtron {

// Writes to stdout, appends the newline and flushes. Throws IoError if not all of it can be written. Thread-safe.
void print_result(std::string_view text);

}  // namespace ringtron
