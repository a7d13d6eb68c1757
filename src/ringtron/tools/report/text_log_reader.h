// What a run has printed, Ringtron's or Megatron-LM's, as docs/formats/log_line.md describes it. Lines may stand behind
// a launcher's "[rank 3] ", "[default3]:" or "3: ".
#pragma once

#include <string>
#include <string_view>

#include "ringtron/tools/report/run_log.h"

namespace ringtron {

class TextLogReader {
 public:
  explicit TextLogReader(RunLogBuilder& builder) : builder_(builder) {}

  // One line, without its newline. What tells nothing of the run is passed over; a log line that is cut is counted in
  // `unread_lines`.
  void read(std::string_view line);

 private:
  void read_step(std::string_view line, std::size_t begin);
  void read_evaluation(std::string_view line, std::size_t begin);
  bool read_argument(std::string_view line);
  bool read_time(std::string_view line);
  void read_memory(std::string_view line);
  void read_transfer(std::string_view line);

  RunLogBuilder& builder_;
  bool in_arguments_ = false;
  bool in_times_ = false;
  bool counts_times_ = false;  // those of a step, not of the start
  PartTimes all_ranks_;        // of --timing-log-option all, while its ranks come
};

}  // namespace ringtron
