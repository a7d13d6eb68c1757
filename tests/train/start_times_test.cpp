#include "ringtron/train/start_up/start_times.h"

#include <gmock/gmock.h>

#include <thread>

#include "ringtron/base/process.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(StartTimes, NamesTheStagesThatTookLong) {
  StartTimes times;
  times.enter("looking around");
  times.enter("building the model");
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  times.enter("first step");
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_THAT(times.line(), AllOf(ContainsRegex("^start-up took [0-9]+\\.[0-9] s: "),
                                  ContainsRegex("building the model [0-9.]+, first step [0-9.]+$")));
  EXPECT_THAT(StartTimes().line(), Not(HasSubstr("building")));
}

TEST(StartTimes, AProcessGrowsOlder) {
  const double before = process_age();
  EXPECT_GT(before, 0.0);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_GT(process_age(), before + 0.02);
}

}  // namespace
}  // namespace ringtron
