// What a training run has told of itself, whatever the form of its log: the numbers of its steps, evaluations, saves,
// loads, its configuration.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringtron/telemetry/timers.h"

namespace ringtron {

// Numbers by the names of docs/formats/log_json.md; what was not finite is NaN.
using NamedNumbers = std::map<std::string, double, std::less<>>;

struct LoggedEvaluation {
  std::string set;  // "validation", "validation-books", "final validation", "test"
  std::int64_t iteration = 0;
  double loss = 0;
};

struct LoggedTransfer {
  enum class Kind { load, save } kind = Kind::save;
  std::int64_t iteration = 0;
  std::string time = {};  // as logged; may be empty
  std::optional<double> seconds = {};
  std::optional<double> bytes = {};   // of all ranks
  std::optional<double> waited = {};  // seconds that training stood still
};

// Where a run went on after an end.
struct Seam {
  std::int64_t iteration = 0;       // what came before counts up to it
  std::int64_t repeated_lines = 0;  // log lines of before that lay behind it
};

// The mean over the log lines of one part of a step, without the first line of each start.
struct PartMean {
  std::string name;
  double least = 0, most = 0;  // milliseconds of the fastest and of the slowest rank that has the part
  std::vector<double> ranks;   // milliseconds by rank; empty if the log does not tell
};

struct RunLog {
  std::string name;
  std::vector<std::pair<std::string, std::string>> options;  // Megatron's names (underscores), as in its dump
  std::string device;                                        // "NVIDIA H200"; empty: unknown, or a CPU
  std::optional<double> peak_tflops;                         // of one device
  std::int64_t world_size = 0;                               // 0: unknown
  std::int64_t train_iterations = 0;
  std::map<std::int64_t, NamedNumbers> steps;  // by iteration
  std::string first_time, last_time;           // of log lines, as logged
  std::vector<LoggedEvaluation> evaluations;
  std::vector<LoggedTransfer> transfers;
  std::vector<Seam> seams;
  std::vector<PartMean> parts;
  double step_milliseconds = 0;   // the mean over the lines that tell of parts; 0: none
  std::int64_t unread_lines = 0;  // that should have been read and could not be

  const std::string* option(std::string_view name) const;
};

// Puts a RunLog together from what comes in the order of the log. Of two values of one iteration the later counts; when
// a run goes on from an earlier iteration, what lay behind that is dropped, and a seam tells.
class RunLogBuilder {
 public:
  // A process has begun to train from `iteration` on.
  void begin_session(std::int64_t iteration) { session_ = iteration; }
  void step(std::int64_t iteration, const std::string& time, NamedNumbers numbers);
  // Joins the numbers of a step that has been told; nothing if it has not.
  void number(std::int64_t iteration, const std::string& name, double value);
  void evaluation(LoggedEvaluation evaluation);
  // Of the step that was told last.
  void part(const PartTimes& times);
  void part_range(const std::string& name, double least, double most);
  std::int64_t last_iteration() const { return last_; }  // told last; 0: none
  RunLog& log() { return log_; }

  RunLog finish(std::string name);

 private:
  struct Sums {
    PartMean sum;
    std::int64_t lines = 0;
  };
  void cut(std::int64_t iteration);
  void count_step();
  Sums& sums_of(const std::string& name);

  RunLog log_;
  std::optional<std::int64_t> session_;  // begun, and no step of it told yet
  std::int64_t last_ = 0;
  bool is_first_line_ = true;      // the last step is the first of its session
  std::vector<Sums> sums_;         // of other lines
  Sums steps_, first_steps_;       // of lines with parts
  std::int64_t counted_step_ = 0;  // the last of them
  std::vector<Sums> first_sums_;   // of first lines, for a log that has no others
};

}  // namespace ringtron
