// What a run tells people: the log line, the evaluation lines, TensorBoard, the file of --log-jsonl. Only the last rank
// prints, as in Megatron.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/base/clock.h"
#include "ringtron/telemetry/log_line.h"
#include "ringtron/telemetry/tensorboard/event_writer.h"
#include "ringtron/train/cuda_runtime.h"
#include "ringtron/train/job.h"
#include "ringtron/train/report/device_moment.h"
#include "ringtron/train/report/json_log.h"
#include "ringtron/train/report/step_timers.h"
#include "ringtron/train/report/timer_report.h"
#include "ringtron/train/train_step.h"

namespace ringtron {

// What a loss was evaluated on: while training goes on, and after it.
enum class Evaluated { validation, final_validation, test };

struct EvaluatedSet {
  Evaluated what;
  std::string name;  // of one of several validation sets, or empty
};

class Reporter {
 public:
  // `start`: where the run begins, fresh or resumed. `timers`: of its steps. Collective; throws IoError, on all ranks,
  // if --tensorboard-dir or --log-jsonl cannot be written. Later nothing that goes wrong with them ends the run.
  Reporter(const Job& job, std::int64_t train_iterations, const Progress& start, StepTimers& timers);
  // Where a run ends by an exception: the line of a step that the device has done is printed all the same.
  ~Reporter();
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  // Once per step, when all of it has been asked for. The host reads a step's numbers after it has asked for the next
  // one, so that the device has always something to do: the line of a step that logs is printed in the call after it,
  // or by catch_up(); at once on a CPU and after the first two steps, which tell what the start cost. False if a loss
  // or gradient norm that has been read since the last call is not a finite number. `rates` are what is logged. Throws
  // InternalError, on all ranks, when a step that logs was faster than the device can be (unless
  // --no-proof-of-exchange). Collective.
  bool step_done(const StepResult& result, const Progress& progress, const LearningRates& rates,
                 std::optional<double> params_norm);

  // In the place of step_done(), of an iteration that was skipped; says so. A log line that is due then is that of the
  // steps since the line before; if there are none, of the next step. Collective.
  void step_skipped(std::int64_t samples, const Progress& progress);

  // Prints the line that is still to come, if there is one; waits for its step. Collective.
  void catch_up();

  // Stands at the end of every log line from now on; " TEXT |", or empty.
  void set_remark(std::string remark) { remark_ = std::move(remark); }

  // Writes to TensorBoard what has waited since the last step that logged. Waits for the device; for the end of a run.
  void write_points();

  // `where` is what the lines say; TensorBoard gets the result under the tag of `set`.
  void evaluated(const EvaluatedSet& set, const std::string& where, double loss, const Progress& progress);

  // A checkpoint has been loaded or saved, for --log-jsonl.
  void transferred(const TransferRecord& record);

  // While it lives, time does not count for the iterations: evaluation, saves. Not nested.
  class Pause {
   public:
    // Catches up and waits for the device: what it still works on is the iterations' own.
    explicit Pause(Reporter& reporter);
    ~Pause() { reporter_.paused_ += seconds_since(began_); }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Reporter& reporter_;
    SteadyClock::time_point began_;
  };

 private:
  // A step of which the log and TensorBoard are to be told.
  struct Step {
    Progress progress;
    std::int64_t samples = 0;        // of its global batch
    LearningRates rates, own_rates;  // to be logged; of the step itself, which are logged where it was let go
    std::optional<double> params_norm;
    std::optional<DeviceMemory> memory;  // where TensorBoard is told
    std::vector<double> numbers;         // in the order of number_names_, once they are read
  };
  // A line that is to be printed when the numbers have come.
  struct Line {
    PendingNumbers numbers;  // of the newest steps
    StepTimers::Cut times;   // since the line before
    Progress progress;       // at the line; its last steps may have been skipped
    double paused = 0.0;     // seconds of its interval
    bool ends_interval = false;
  };

  bool ends_interval(std::int64_t iteration) const;
  at::Tensor numbers_of(const StepResult& result);
  double number(const Step& step, std::string_view name, double otherwise = 0.0) const;
  double sum(std::string_view name) const;
  bool has(std::string_view name) const;
  bool is_bad(const Step& step) const;
  bool was_let_go(const Step& step) const;
  void begin_line(const Progress& progress, bool ends);
  void read(const PendingNumbers& numbers);
  TrainingLogLine line_of(const Progress& progress, double seconds) const;
  std::string text_of(const TrainingLogLine& line) const;
  void tell(const TrainingLogLine& line, const std::vector<PartTimes>& parts);
  double mean_step_flops() const;
  double seconds_left(const Progress& progress, double seconds) const;
  double mean_batch() const;
  void require_possible_throughput(double tflops) const;
  void report_memory(std::int64_t iteration) const;
  void warn_of_masked_tokens();
  void warn_of_least_scale() const;
  void write_point(const Step& step);
  void write_times(const TrainingLogLine& line, const std::vector<PartTimes>& parts);
  void open_events(const Progress& start);

  const Job& job_;
  std::int64_t train_iterations_;
  double step_flops_;                           // of --global-batch-size dense causal samples, or with a window its own
  std::vector<std::string_view> number_names_;  // what each step gives; the same in all steps
  std::vector<at::Tensor> on_device_;           // numbers of the newest steps
  std::vector<Step> steps_;                     // of the interval; the first `read_` of them have been read
  std::size_t read_ = 0, written_ = 0;          // written: to TensorBoard
  std::optional<Line> line_;
  bool is_bad_ = false;
  bool told_of_masks_ = false;
  std::string remark_;
  std::int64_t steps_done_ = 0;
  std::int64_t left_out_ = 0;  // iterations since the last line that were skipped
  bool line_is_due_ = false;   // since one of these, before which there was no step
  DeviceMoment since_;         // the interval began
  double paused_ = 0.0;        // seconds since then, or since the step that ended the last interval
  std::unique_ptr<EventWriter> events_;
  std::optional<JsonLog> json_;  // on the last rank, and so is the one above
  StepTimers& timers_;
  TimerReport timer_report_;
};

}  // namespace ringtron
