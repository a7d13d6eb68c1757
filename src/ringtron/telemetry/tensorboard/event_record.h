// The bytes of TensorBoard's event records. docs/formats/event_file.md shows the layout.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ringtron {

// When and at which step something was recorded. Wall time in seconds since 1970.
struct EventTime {
  double wall_time = 0;
  std::int64_t step = 0;
};

// Each is one framed record, to be appended to a file as it is. The version record must be the first of a
// file.
std::string version_record(double wall_time);
// Readers forget what was recorded before of this step and later ones, whatever the tag.
std::string session_start_record(EventTime time);
std::string scalar_record(EventTime time, std::string_view tag, float value);
std::string text_record(EventTime time, std::string_view tag, std::string_view text);

}  // namespace ringtron
