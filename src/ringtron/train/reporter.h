// What a run tells people: the log line, the evaluation lines, TensorBoard. Only the last rank prints, as in Megatron.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ringtron/base/clock.h"
#include "ringtron/telemetry/tensorboard/event_writer.h"
#include "ringtron/train/job.h"
#include "ringtron/train/train_step.h"

namespace ringtron {

// What a loss was evaluated on: while training goes on, and after it.
enum class Evaluated { validation, final_validation, test };

class Reporter {
 public:
  // `start`: where the run begins, fresh or resumed. Collective; throws IoError, on all ranks, if --tensorboard-dir
  // cannot be written. Later nothing that goes wrong with it ends the run (telemetry/tensorboard/event_writer.h).
  Reporter(const Job& job, std::int64_t train_iterations, const Progress& start);

  // Once per step. Losses are summed on the device; only a step that logs waits for it and reads them, and returns
  // true. `lr` is what is logged. Throws InternalError, on all ranks, when a step that logs was faster than the device
  // can be (unless --no-proof-of-exchange). Collective.
  bool step_done(const StepResult& result, const Progress& progress, double lr, std::optional<double> params_norm);

  // Stands at the end of every log line from now on; " TEXT |", or empty.
  void set_remark(std::string remark) { remark_ = std::move(remark); }

  // Writes to TensorBoard what has waited since the last step that logged. Reads the device; for the end of a run.
  void write_points();

  // `where` is what the lines say; TensorBoard gets the result under the tag of `what`.
  void evaluated(Evaluated what, const std::string& where, double loss, const Progress& progress);

  // While it lives, time does not count for the iterations: evaluation, saves. Not nested.
  class Pause {
   public:
    // Waits for the device: what it still works on is the iterations' own.
    explicit Pause(Reporter& reporter);
    ~Pause() { reporter_.since_ += SteadyClock::now() - began_; }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Reporter& reporter_;
    SteadyClock::time_point began_;
  };

 private:
  bool ends_interval(std::int64_t iteration) const;
  double mean_step_flops() const;
  // " tokens/s: 12345 | time left: 1:02:03 |"
  std::string pace(std::int64_t iteration, double seconds) const;
  void require_possible_throughput(double tflops) const;
  void report_memory(std::int64_t iteration) const;
  void warn_of_masked_tokens();

  const Job& job_;
  std::int64_t train_iterations_;
  double step_flops_;  // of dense causal samples, or with a window its own
  at::Tensor tokens_sum_, loss_sum_, attention_cells_sum_, area_imbalance_sum_, skipped_sum_, nan_sum_;
  std::int64_t losses_ = 0;
  bool told_of_masks_ = false;
  std::string remark_;
  std::int64_t steps_done_ = 0;
  SteadyClock::time_point since_;  // the interval began, later by the pauses
  std::unique_ptr<EventWriter> events_;
  // What TensorBoard gets at the next log step: reading it at once would make the host wait for a GPU in every step.
  struct Point {
    StepResult result;
    Progress progress;
    double lr;
    std::optional<double> params_norm;
  };
  std::vector<Point> points_;
};

}  // namespace ringtron
