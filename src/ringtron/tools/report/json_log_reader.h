// The lines of --log-jsonl (docs/formats/log_json.md).
#pragma once

#include <string_view>

#include "ringtron/tools/report/run_log.h"

namespace ringtron {

// Whether a line is one that --log-jsonl writes.
bool is_json_log_line(std::string_view line);

// One line, without its newline. One of a kind that is not known is passed over; one that is no JSON, or cut, is
// counted in `unread_lines`.
void read_json_log_line(std::string_view line, RunLogBuilder& builder);

}  // namespace ringtron
