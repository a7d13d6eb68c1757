// Which signals stop a run, and that none is lost.
#include "ringtron/train/signals.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <string>

namespace ringtron {
namespace {

TEST(StopSignals, EachIsKeptFromStartUpOn) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGXCPU, SIGPWR}) {
    StopSignals signals;
    signals.start_up_begins();
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
    ::raise(SIGHUP);  // nobody looks yet: it would end the process
    signals.start_up_begins();
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
  {
    const StopSignals signals;
  }
  ::raise(SIGUSR1);
  EXPECT_EQ(seen, 1);
  ::signal(SIGUSR1, before);
}

// Launchers signal a process and then its group: what comes at once is the same wish.
TEST(StopSignals, OneThatComesAgainLaterEndsTheProcessAlsoInsideALongStep) {
  for (const int signal : {SIGTERM, SIGINT}) {
    EXPECT_EXIT(
        {
          StopSignals signals;
          signals.start_up_begins();
          signals.start_up_is_done("ends after the step");
          ::raise(signal);
          if (signals.received() != signal) ::_exit(3);
          ::usleep(1'100'000);
          ::raise(signal == SIGTERM ? SIGINT : SIGTERM);  // another one is no second
          ::raise(signal);
        },
        ::testing::KilledBySignal(signal),
        fmt::format(
            "^{0} received: ends after the step\n.* received: ends after the step\nexiting program at once: {0} came again. What was "
            "not saved is lost",
            signal_name(signal)));
  }
}

TEST(StopSignals, AWarningMayComeMoreThanOnce) {
  StopSignals signals;
  signals.start_up_begins();
  signals.start_up_is_done();
  for (const int signal : {SIGUSR1, SIGUSR1, SIGPWR, SIGPWR, SIGTERM, SIGTERM}) ::raise(signal);
  EXPECT_EQ(signals.received(), SIGTERM);
}

// Before anybody looks the process ends as it would by itself, but not in silence.
TEST(StopSignals, WhereNobodyLooksASignalEndsTheProcessWithAWord) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGXCPU, SIGPWR}) {
    EXPECT_EXIT(
        {
          StopSignals signals;
          signals.enter("waiting for the other ranks");
          ::raise(signal);
        },
        ::testing::KilledBySignal(signal),
        std::string("after receiving ") + signal_name(signal) + " while waiting for the other ranks");
    EXPECT_EXIT(
        {
          const StopSignals signals;  // a tool, which names no stages
          ::raise(signal);
        },
        ::testing::KilledBySignal(signal),
        std::string("exiting program after receiving ") + signal_name(signal) + "\n");
  }
}

// Start-up that does not look ends with a word; the alarm is what the handler has set.
TEST(StopSignals, StartUpThatDoesNotAnswerEndsWithAWord) {
  EXPECT_EXIT(
      {
        StopSignals signals;
        signals.start_up_begins();
        signals.enter("opening the data");
        ::raise(SIGTERM);
        ::raise(SIGALRM);
      },
      ::testing::ExitedWithCode(128 + SIGTERM),
      "after receiving SIGTERM during start-up, which was still opening the data");
}

}  // namespace
}  // namespace ringtron
