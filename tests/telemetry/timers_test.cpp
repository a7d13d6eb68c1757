#include "ringtron/telemetry/timers.h"

#include <gtest/gtest.h>

namespace ringtron {
namespace {

const std::vector<PartTimes> kParts = {
    {"forward-backward", {1.234, 20}}, {"params-all-gather", {0, 0}}, {"forward-send", {0.5, 0}}};

TEST(Timers, Ranges) {
  EXPECT_EQ(format_time_ranges(kParts),
            "(min, max) time across ranks (ms):\n"
            "    forward-backward ...............................: (1.23, 20.00)\n"
            "    forward-send ...................................: (0.50, 0.50)");
}

TEST(Timers, Longest) {
  EXPECT_EQ(format_longest_times(kParts),
            "max time across ranks (ms):\n"
            "    forward-backward ...............................: 20.00\n"
            "    forward-send ...................................: 0.50");
}

TEST(Timers, OfEachRank) {
  EXPECT_EQ(format_all_times(kParts),
            "times across ranks (ms):\n"
            "  forward-backward:\n     rank  0: 1.23\n     rank  1: 20.00\n"
            "  forward-send:\n     rank  0: 0.50");
}

TEST(Timers, NothingToTell) {
  EXPECT_EQ(format_time_ranges({}), "");
  EXPECT_EQ(format_all_times(std::vector<PartTimes>{{"optimizer", {0, 0}}}), "");
}

}  // namespace
}  // namespace ringtron
