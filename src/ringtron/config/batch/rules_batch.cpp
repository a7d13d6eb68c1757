// Rules over a global batch that changes in the course of a run.
#include <fmt/format.h>

#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

const BatchConfig& batch(In in) { return in.given.batch; }
bool has_ramp(In in) { return !batch(in).rampup_batch_size.empty(); }
bool has_steps(In in) { return !batch(in).step_batch_size_schedule.empty(); }
bool changes(In in) { return has_ramp(in) != has_steps(in); }  // with both another rule speaks

std::variant<BatchSchedule, std::string> schedule(In in) {
  return try_batch_schedule(in.filled.batch, in.filled.model.seq_length);
}

// Of the schedule, where there is one, the first part whose batch does not divide; batch 0 for none. Of the last of a
// ramp, --global-batch-size, the rule of that flag speaks.
BatchSchedule::Part undivided(In in) {
  const std::int64_t one = std::int64_t{batch(in).micro_batch_size} * in.data_parallel_size;
  const auto result = schedule(in);
  const auto* parts = std::get_if<BatchSchedule>(&result);
  if (one == 0 || parts == nullptr) return {};
  for (const BatchSchedule::Part& part : parts->parts()) {
    if (part.batch % one != 0 && part.batch != batch(in).global_batch_size) return part;
  }
  return {};
}

const char* flag(In in) { return has_ramp(in) ? "--rampup-batch-size" : "--step-batch-size-schedule"; }

constexpr std::string_view kFlags = "--rampup-batch-size --step-batch-size-schedule";
constexpr std::string_view kWithLength = "--rampup-batch-size --step-batch-size-schedule --train-iters --train-samples";
constexpr std::string_view kWithSize =
    "--rampup-batch-size --step-batch-size-schedule --global-batch-size --seq-length";

constexpr Rule kRules[] = {
    {kFlags, [](In in) { return has_ramp(in) && has_steps(in); },
     [](In) { return std::string("expected --rampup-batch-size or --step-batch-size-schedule, got both"); },
     "keep one"},
    {kWithSize,
     [](In in) {
       return changes(in) && (has_steps(in) || in.filled.batch.global_batch_size > 0) &&
              std::holds_alternative<std::string>(schedule(in));
     },
     [](In in) { return std::get<std::string>(schedule(in)); }, ""},
    {kWithSize,
     [](In in) {
       return has_steps(in) && !has_ramp(in) && batch(in).global_batch_size > 0 &&
              std::holds_alternative<BatchSchedule>(schedule(in)) &&
              std::get<BatchSchedule>(schedule(in)).parts().back().batch != batch(in).global_batch_size;
     },
     [](In in) {
       return fmt::format("--step-batch-size-schedule takes the place of --global-batch-size: expected one, got {} too",
                          batch(in).global_batch_size);
     },
     "leave out --global-batch-size"},
    {kWithLength, [](In in) { return changes(in) && batch(in).train_iters > 0 && batch(in).train_samples == 0; },
     [](In in) {
       return fmt::format(
           "{}: expected --train-samples, by which a batch that changes is counted, got --train-iters {}", flag(in),
           batch(in).train_iters);
     },
     "give --train-samples, and the learning rate's lengths in samples"},
    {kWithSize, [](In in) { return changes(in) && undivided(in).batch > 0; },
     [](In in) {
       const BatchSchedule::Part part = undivided(in);
       const long long one = 1LL * batch(in).micro_batch_size * in.data_parallel_size;
       return fmt::format(
           "{}: global batch size ({}) from sample {} on is not divisible by micro batch size ({}) times data parallel "
           "size ({}); {} would be",
           flag(in), part.batch, part.first_sample, batch(in).micro_batch_size, in.data_parallel_size,
           multiples_near(part.batch, one));
     },
     "change the sizes"},
};

}  // namespace

std::span<const Rule> batch_rules() { return kRules; }

}  // namespace ringtron::internal
