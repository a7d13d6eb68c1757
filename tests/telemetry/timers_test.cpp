#include "ringtron/telemetry/timers.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using std::chrono::seconds;

TEST(Timers, AccumulateAndBeginAgain) {
  SteadyClock::time_point now{};
  Timers timers([&] { return now; });
  EXPECT_EQ(timers.seconds("unknown"), 0);
  for (int i = 0; i < 2; ++i) {
    const ScopedTimer timer(timers, "forward");
    now += seconds(3);
  }
  now += seconds(100);
  EXPECT_EQ(timers.take("forward"), 6);
  EXPECT_EQ(timers.seconds("forward"), 0);
  timers.start("forward");
  now += seconds(2);
  EXPECT_EQ(timers.take("forward"), 2);  // and runs on
  now += seconds(1);
  timers.stop("forward");
  EXPECT_EQ(timers.seconds("forward"), 1);
}

TEST(Timers, MisuseIsOurMistake) {
  Timers timers;
  EXPECT_THROW(timers.stop("a"), InternalError);
  timers.start("a");
  EXPECT_THROW(timers.start("a"), InternalError);
}

TEST(Timers, BlockOfAllRanks) {
  const TimerRange ranges[] = {{"forward-backward", 1.234, 20}, {"optimizer", 0.5, 0.75}};
  EXPECT_EQ(format_timers(ranges),
            "(min, max) time across ranks (ms):\n"
            "    forward-backward ...............................: (1.23, 20.00)\n"
            "    optimizer ......................................: (0.50, 0.75)");
}

}  // namespace
}  // namespace ringtron
