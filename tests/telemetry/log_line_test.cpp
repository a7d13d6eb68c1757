#include "ringtron/telemetry/log_line.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ringtron {
namespace {

TrainingLogLine sample() {
  TrainingLogLine line;
  line.timestamp = "2026-08-22 10:11:12.123456";
  line.iteration = 1;
  line.train_iterations = 500000;
  line.consumed_samples = 64;
  line.milliseconds_per_iteration = 1234.5;
  line.tflops_per_gpu = 412.3;
  line.learning_rate = 1e-4;
  line.global_batch_size = 64;
  line.losses = {{"lm loss", 11.0}};
  line.grad_norm = 3.141;
  return line;
}

TEST(LogLine, BytesOfAUsualLine) {
  EXPECT_EQ(format_log_line(sample()),
            " [2026-08-22 10:11:12.123456] iteration        1/  500000 | consumed samples:           64 | "
            "elapsed time per "
            "iteration (ms): 1234.5 | throughput per GPU (TFLOP/s/GPU): 412.3 | learning rate: 1.000000E-04 "
            "| global batch "
            "size:    64 | lm loss: 1.100000E+01 | loss scale: 1.0 | grad norm: 3.141 | number of skipped "
            "iterations:   0 | "
            "number of nan iterations:   0 |");
}

TEST(LogLine, OptionalFields) {
  TrainingLogLine line = sample();
  line.tflops_per_gpu.reset();
  line.grad_norm.reset();
  line.skipped_samples = 128;
  line.decoupled_learning_rate = 2e-4;
  line.zeros_in_grad = 17;
  line.params_norm = 98.7654;
  line.losses = {{"lm loss", std::nan("")}, {"mtp loss", 2.5}, {"odd", -1}};
  line.nan_iterations = 3;
  EXPECT_EQ(
      format_log_line(line),
      " [2026-08-22 10:11:12.123456] iteration        1/  500000 | consumed samples:           64 | "
      "skipped samples:  "
      "        128 | elapsed time per iteration (ms): 1234.5 | learning rate: 1.000000E-04 | "
      "decoupled learning rate: 2.000000E-04 | global batch size:    64 | "
      "lm loss: NAN | mtp loss: 2.500000E+00 | odd: -1.000000E+00 | loss scale: 1.0 | num zeros: 17 | params norm: 98.765 | number of "
      "skipped iterations: "
      "  0 | number of nan iterations:   3 |");
}

TEST(LogLine, EvaluationStandsBetweenDashes) {
  const std::string text =
      " validation loss at iteration 100 on test set | lm loss value: 2.302585E+00 | lm loss PPL: "
      "1.000000E+01 | ";
  const std::string dashes(text.size() + 1, '-');
  EXPECT_EQ(format_evaluation("iteration 100 on test set", {{"lm loss", std::log(10.0)}}),
            dashes + "\n" + text + "\n" + dashes);
  EXPECT_EQ(perplexity(1000), std::exp(20.0));
}

}  // namespace
}  // namespace ringtron
