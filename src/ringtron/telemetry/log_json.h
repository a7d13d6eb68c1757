// What the log lines say, as JSON: one object a line, numbers to their last digit.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ringtron/telemetry/log_line.h"
#include "ringtron/telemetry/timers.h"

namespace ringtron {

// {"kind":"train","iteration":10,...}, without a newline. docs/formats/log_json.md lists the members. A number that is
// not finite is null.
std::string json_of(const TrainingLogLine& line, std::span<const PartTimes> parts);

struct EvaluationRecord {
  std::string timestamp;
  std::string on;   // "validation", "final validation", "test"
  std::string set;  // of one of several validation sets, or empty
  std::int64_t iteration = 0;
  std::int64_t consumed_samples = 0;
  double loss = 0;
};

// {"kind":"evaluation","on":"validation",...}
std::string json_of(const EvaluationRecord& record);

}  // namespace ringtron
