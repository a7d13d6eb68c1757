// Batch schedules against a loop over the steps of a run, one by one.
#include "ringtron/config/batch/batch_schedule.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Part = BatchSchedule::Part;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

BatchConfig ramp(std::vector<int> flag, int last) {
  BatchConfig batch;
  batch.rampup_batch_size = std::move(flag);
  batch.global_batch_size = last;
  return batch;
}

BatchConfig steps(std::string flag) {
  BatchConfig batch;
  batch.step_batch_size_schedule = std::move(flag);
  return batch;
}

BatchSchedule schedule_of(const BatchConfig& batch, int seq_length = 10) {
  return std::get<BatchSchedule>(try_batch_schedule(batch, seq_length));
}

std::string fault_of(const BatchConfig& batch, int seq_length = 10) {
  const auto result = try_batch_schedule(batch, seq_length);
  const auto* fault = std::get_if<std::string>(&result);
  return fault == nullptr ? "none" : *fault;
}

TEST(BatchSchedule, OfARampIsMegatronsFormula) {
  for (const auto& [start, increment, samples, last] :
       {std::array{2, 2, 20, 8}, {8, 8, 1000, 64}, {4, 1, 7, 9}, {16, 16, 3, 64}, {8, 4, 0, 16}, {8, 4, 100, 8}}) {
    const BatchSchedule schedule = schedule_of(ramp({start, increment, samples}, last));
    const int increments = (last - start) / increment;
    for (std::int64_t consumed = 0; consumed < samples + 20; ++consumed) {
      const std::int64_t expected = consumed >= samples ? last : start + consumed * increments / samples * increment;
      EXPECT_EQ(schedule.batch_at(consumed), expected) << start << ' ' << samples << " at " << consumed;
    }
    EXPECT_EQ(schedule.smallest(), schedule.parts().front().batch);
    EXPECT_EQ(schedule.largest(), last);
  }
  EXPECT_THAT(schedule_of(ramp({2, 2, 20}, 8)).parts(), ElementsAre(Part{0, 2}, Part{7, 4}, Part{14, 6}, Part{20, 8}));
  EXPECT_THAT(schedule_of(ramp({}, 8)).parts(), ElementsAre(Part{0, 8}));
}

TEST(BatchSchedule, OfStepsCountsTokens) {
  EXPECT_THAT(schedule_of(steps("0:768 250B:1536, 0.5T:3072"), 4096).parts(),
              ElementsAre(Part{0, 768}, Part{61035156, 1536}, Part{122070312, 3072}));
  EXPECT_THAT(schedule_of(steps("1k:4 0:8")).parts(), ElementsAre(Part{0, 8}, Part{100, 4}));
  EXPECT_EQ(schedule_of(steps("1k:4 0:8")).largest(), 8);
  EXPECT_EQ(schedule_of(steps("1k:4 0:8")).batch_at(99), 8);
  EXPECT_EQ(schedule_of(steps("1k:4 0:8")).batch_at(100), 4);
}

TEST(BatchSchedule, StepsAndSamplesAreThoseOfALoop) {
  for (const BatchConfig& batch :
       {ramp({2, 2, 20}, 8), ramp({}, 7), steps("0:3 100:5 250:2"), steps("0:50 20:3 30:4"), ramp({16, 16, 3}, 64)}) {
    const BatchSchedule schedule = schedule_of(batch);
    for (std::int64_t samples = 0; samples < 120; ++samples) {
      std::int64_t consumed = 0, made = 0;
      while (consumed + schedule.batch_at(consumed) <= samples) {
        consumed += schedule.batch_at(consumed);
        ++made;
        EXPECT_EQ(schedule.samples_after(0, made), consumed);
      }
      EXPECT_EQ(schedule.steps_of(samples), made) << samples << " samples";
    }
    for (std::int64_t from = 0; from < 40; ++from) {
      std::int64_t consumed = from;
      for (std::int64_t count = 0; count < 12; ++count) {
        EXPECT_EQ(schedule.samples_after(from, count), consumed);
        consumed += schedule.batch_at(consumed);
      }
    }
  }
}

TEST(BatchSchedule, FaultsAreTold) {
  EXPECT_THAT(fault_of(ramp({2, 2}, 8)), HasSubstr("expected START INCREMENT SAMPLES, got 2 numbers"));
  EXPECT_THAT(fault_of(ramp({0, 2, 20}, 8)), HasSubstr("at least 1, got 0 and 2"));
  EXPECT_THAT(fault_of(ramp({10, 2, 20}, 8)), HasSubstr("a START of at most --global-batch-size 8, got 10"));
  EXPECT_THAT(fault_of(ramp({2, 4, 20}, 8)), HasSubstr("divides the 6 from START 2 to --global-batch-size 8, got 4"));
  EXPECT_THAT(fault_of(ramp({1, 1, 20}, 1 << 30)), HasSubstr("at most 10000 increments"));
  EXPECT_THAT(fault_of(ramp({}, 0)), HasSubstr("expected --global-batch-size"));
  for (const char* word : {"0", "0:", ":8", "x:8", "0:-8", "0:8:9", "0:nan", "0:1T", "1e30:4"})
    EXPECT_THAT(fault_of(steps(word)), HasSubstr("expected TOKENS:BATCH such as 250B:1536, got ")) << word;
  EXPECT_THAT(fault_of(steps("10:8")), HasSubstr("expected a first step at 0 tokens, got 10:8"));
  EXPECT_THAT(fault_of(steps(" ")), HasSubstr("expected a first step at 0 tokens"));
  EXPECT_THAT(fault_of(steps("0:8 100:16 105:32")), HasSubstr("got two at sample 10"));
  EXPECT_THAT(fault_of(steps("0:8"), 0), HasSubstr("expected --seq-length"));
  EXPECT_THROW(batch_schedule(Config{}), ConfigError);
}

}  // namespace
}  // namespace ringtron
