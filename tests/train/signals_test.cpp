// Which signals stop a run, and that none is lost.
#include "ringtron/train/signals.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace ringtron {
namespace {

TEST(StopSignals, EachIsKeptFromStartUpOn) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGXCPU}) {
    StopSignals signals;
    EXPECT_EQ(signals.received(), 0);
    signals.enter("at the test");
    ::raise(signal);
    EXPECT_EQ(signals.received(), signal);
    signals.start_up_is_done();  // takes back the end after 10 s
    EXPECT_EQ(signals.received(), signal) << signal_name(signal);
  }
}

TEST(StopSignals, HangupIsIgnoredWhereItWas) {  // nohup
  const auto before = ::signal(SIGHUP, SIG_IGN);
  {
    StopSignals signals;
    ::raise(SIGHUP);
    EXPECT_EQ(signals.received(), 0);
    ::raise(SIGTERM);
    EXPECT_EQ(signals.received(), SIGTERM);
  }
  EXPECT_EQ(::signal(SIGHUP, before), SIG_IGN);
}

TEST(StopSignals, WhatWasThereComesBack) {
  static int seen = 0;
  const auto before = ::signal(SIGUSR1, [](int) { ++seen; });
  { const StopSignals signals; }
  ::raise(SIGUSR1);
  EXPECT_EQ(seen, 1);
  ::signal(SIGUSR1, before);
}

TEST(StopSignals, ASecondInterruptEndsTheProcess) {
  EXPECT_EXIT(
      {
        StopSignals signals;
        ::raise(SIGINT);
        ::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

// Start-up that does not look ends with a word; the alarm is what the handler has set.
TEST(StopSignals, StartUpThatDoesNotAnswerEndsWithAWord) {
  EXPECT_EXIT(
      {
        StopSignals signals;
        signals.enter("opening the data");
        ::raise(SIGTERM);
        ::raise(SIGALRM);
      },
      ::testing::ExitedWithCode(128 + SIGTERM), "after receiving SIGTERM during start-up, which was still opening the data");
}

}  // namespace
}  // namespace ringtron
