// The file of --log-jsonl.
#pragma once

#include <string>

#include "ringtron/telemetry/log_json.h"
#include "ringtron/train/job.h"
#include "ringtron/train/progress.h"

namespace ringtron {

// The file's first line of a process that begins to train at `start`.
StartRecord start_record(const Job& job, std::int64_t train_iterations, const Progress& start);

class JsonLog {
 public:
  // Adds to a file that is there; makes its folder if it is absent. Throws IoError if it cannot be written.
  explicit JsonLog(std::string path);

  // A line that cannot be written ends nothing: it is told once on stderr, and lost.
  void write(const std::string& line);

 private:
  std::string path_;
  bool in_trouble_ = false;
};

}  // namespace ringtron
