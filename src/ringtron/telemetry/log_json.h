// What the log lines say, as JSON: one object a line, numbers to their last digit.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/telemetry/log_line.h"
#include "ringtron/telemetry/timers.h"

namespace ringtron {

// {"kind":"train","iteration":10,...}, without a newline. docs/formats/log_json.md lists the members. A number that is
// not finite is null.
std::string json_of(const TrainingLogLine& line, std::span<const PartTimes> parts);

// A process begins to train.
struct StartRecord {
  std::string timestamp = {};
  std::int64_t iteration = 0;  // done before
  std::int64_t consumed_samples = 0;
  std::int64_t train_iterations = 0;
  int world_size = 1;
  std::string device = {};                                        // "NVIDIA H200"; empty on a CPU
  std::optional<double> peak_tflops = {};                         // of one device, where it is known
  std::vector<std::pair<std::string, std::string>> options = {};  // as in the listing at the start of the log
};

// {"kind":"start",...}
std::string json_of(const StartRecord& record);

// {"kind":"save",...} or {"kind":"load",...}
std::string json_of(const TransferRecord& record);

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
