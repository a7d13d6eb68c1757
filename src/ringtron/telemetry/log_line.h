// The lines that programs which watch Megatron's output look for, byte for byte in their form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringtron {

// One line of training progress; fields in the order in which they are printed, empty optionals are left out.
struct TrainingLogLine {
  std::string timestamp;  // local_timestamp()
  std::int64_t iteration = 0;
  std::int64_t train_iterations = 0;
  std::int64_t consumed_samples = 0;
  std::int64_t skipped_samples = 0;       // left out if 0
  double milliseconds_per_iteration = 0;  // mean since the last line
  std::optional<double> tflops_per_gpu;   // --log-throughput
  double learning_rate = 0;
  std::optional<double> decoupled_learning_rate;  // --decoupled-lr
  std::int64_t global_batch_size = 0;
  std::vector<std::pair<std::string, double>>
      losses;  // means since the last line; one that is not a number is printed as NAN
  double loss_scale = 1;
  std::optional<double> grad_norm;
  std::optional<std::int64_t> zeros_in_grad;              // --log-num-zeros-in-grad
  std::optional<double> params_norm;                      // --log-params-norm
  std::int64_t skipped_iterations = 0;                    // since the last line: the weights stayed as they were
  std::int64_t nan_iterations = 0;                        // since the last line: loss or gradient norm not finite
  std::optional<double> tokens_per_second, seconds_left;  // --log-eta; not in Megatron's line: format_pace()
  // In the JSON line alone.
  std::optional<double> area_imbalance;  // attention cells of the context rank that has most, by the mean
  std::optional<std::int64_t> memory_allocated, memory_max_allocated;  // bytes of the last rank's GPU
};

// How long a checkpoint took to write or to read.
struct TransferRecord {
  enum class Kind { save, load } kind = Kind::save;
  std::string timestamp = {};  // local_timestamp()
  std::int64_t iteration = 0;
  double seconds = 0;                         // from the first byte to the last, on the slowest rank
  double bytes = 0;                           // of all ranks
  std::optional<double> seconds_waited = {};  // that training stood still, of a save beside it
};

// Without a newline; begins with a blank.
std::string format_log_line(const TrainingLogLine& line);
// " tokens/s: 12345 | time left: 1:02:03 |", or empty.
std::string format_pace(const TrainingLogLine& line);

// "  saved 1.23 GB in 0.8 s (1.54 GB/s)", three digits each; GB are 1e9 bytes.
std::string format_transfer(const TransferRecord& record);

// Perplexity as it is reported: exp(min(20, loss)); of what is not a number, the same.
double perplexity(double loss);

// Three lines without a final newline: the result between two lines of dashes. `where` is "iteration 100",
// "iteration 100 on test set", ...; `set`: the name of one of several validation sets.
std::string format_evaluation(std::string_view where, const std::vector<std::pair<std::string, double>>& losses,
                              std::string_view set = {});

}  // namespace ringtron
