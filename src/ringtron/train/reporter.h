// What a run tells people: the log line, the evaluation lines, TensorBoard. Only the last rank prints, as in Megatron.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ringtron/base/clock.h"
#include "ringtron/telemetry/event_writer.h"
#include "ringtron/train/job.h"
#include "ringtron/train/train_step.h"

namespace ringtron {

class Reporter {
 public:
  Reporter(const Job& job, std::int64_t train_iterations);

  // Once per step. Losses are summed on the device; only a step that logs waits for it and reads them, and returns true.
  // `lr` is what is logged. Throws InternalError, on all ranks, when a step that logs was faster than the device can be
  // (unless --no-proof-of-exchange). Collective.
  bool step_done(const StepResult& result, const Progress& progress, double lr,
                 std::optional<double> params_norm);

  // Stands at the end of every log line from now on; " TEXT |", or empty.
  void set_remark(std::string remark) { remark_ = std::move(remark); }

  // Writes to TensorBoard what has waited since the last step that logged. Reads the device; for the end of a run.
  void write_points();

  void evaluated(const std::string& where, double loss, const Progress& progress);

 private:
  bool ends_interval(std::int64_t iteration) const;
  double step_flops() const;
  void demand_possible(double tflops) const;
  void report_memory(std::int64_t iteration) const;

  const Job& job_;
  std::int64_t train_iterations_;
  double step_flops_;  // of dense causal samples, or with a window its own
  at::Tensor loss_sum_, squared_lengths_sum_, area_imbalance_sum_;
  std::int64_t losses_ = 0;
  std::string remark_;
  std::int64_t steps_done_ = 0;
  SteadyClock::time_point since_;
  std::unique_ptr<EventWriter> events_;
  // What TensorBoard gets at the next log step: reading it at once would make the host wait for a GPU in every step.
  struct Point {
    StepResult result;
    Progress progress;
    double lr;
  };
  std::vector<Point> points_;
};

}  // namespace ringtron
