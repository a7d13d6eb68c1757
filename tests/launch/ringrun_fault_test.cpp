// The real ringrun over small shell programs: exit codes, signals, verdicts, and nothing left behind.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <algorithm>

#include "tests/launch/ringrun_process.h"

namespace ringtron {
namespace {

using testing::comes_true;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Ringrun;

// A rank with a child of its own, both deaf to polite signals.
const char* const kDeafFamily =
    "trap '' TERM INT HUP\n"
    "sleep 1000 &\n"
    "echo $! >> $DIR/pids; echo $$ >> $DIR/pids\n";

TEST(Ringrun, PrefixesLinesAndSetsTheEnvironment) {
  Ringrun run({"--nproc_per_node", "3"},
              "echo one $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE\nprintf rest\necho oh >&2");
  EXPECT_EQ(run.wait(), 0) << run.err();
  for (const char* rank : {"0", "1", "2"}) {
    const std::string prefix = std::string("[rank ") + rank + "] ";
    EXPECT_THAT(run.out(), HasSubstr(prefix + "one 3 " + rank + " 3\n"));
    EXPECT_THAT(run.out(), HasSubstr(prefix + "rest\n"));
    EXPECT_THAT(run.err(), HasSubstr(prefix + "oh\n"));
  }
}

TEST(Ringrun, MoreRanksThanTheMachineRunsAreRefusedAtTheStart) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{std::min<rlim_t>(before.rlim_cur, 256), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  Ringrun run({"--nproc-per-node", "100000"}, "echo here >> $DIR/started");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(run.wait(), 2);
  EXPECT_THAT(run.err(), HasSubstr("expected a number of ranks that this machine can run, got 100000"));
  EXPECT_THAT(run.err(), HasSubstr(" allows "));
  EXPECT_EQ(run.count_in("started"), 0);
}

// Between two starts, too.
TEST(Ringrun, ASignalWhileItStartsRanksIsServed) {
  Ringrun run({"--nproc-per-node", "300"}, "echo >> $DIR/started; sleep 1000");
  ASSERT_TRUE(run.wait_for("started", 1));
  run.send(SIGTERM);
  EXPECT_EQ(run.wait(), 128 + SIGTERM) << run.err();
}

TEST(Ringrun, WithoutPrefix) {
  Ringrun run({"--no-prefix"}, "echo $RANK-$0");
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.out(), "0-/bin/sh\n");
}

// The end of a rank's output wakes ringrun a moment before the rank is dead: it must not sleep over the death. That
// moment is short, so many times.
TEST(Ringrun, EndsWithRanksThatClosedTheirOutputBefore) {
  for (int time = 0; time < 300; ++time) {
    Ringrun run({"--nproc_per_node", "2"}, "exec >&- 2>&-");
    ASSERT_EQ(run.wait(), 0) << "time " << time;
  }
}

TEST(Ringrun, NamesTheFirstFailureAndEndsTheOthers) {
  Ringrun run({"--nproc-per-node", "4"}, std::string(kDeafFamily) +
                                             "if [ $RANK = 2 ]; then\n"
                                             "  while [ $(wc -l < $DIR/pids) -lt 8 ]; do sleep 0.01; done\n"
                                             "  echo the disk is full >&2; exit 7\n"
                                             "fi\nwait");
  EXPECT_EQ(run.wait(), 7);
  EXPECT_THAT(run.err(), HasSubstr("rank 2 (pid"));
  EXPECT_THAT(run.err(), HasSubstr("ended with exit code 7; it failed first"));
  EXPECT_THAT(run.err(), HasSubstr("its last line on stderr: the disk is full"));
  EXPECT_THAT(run.err(), Not(HasSubstr("also:")));
  EXPECT_TRUE(run.all_gone());
}

TEST(Ringrun, NamesTheKilledRankNotItsVictims) {
  Ringrun run({"--nproc-per-node", "4"},
              "trap 'echo \"x: communication failed: rank 1 is gone\" >&2; exit 1' TERM\n"
              "echo >> $DIR/ready\n"
              "while [ $(wc -l < $DIR/ready) -lt 4 ]; do sleep 0.01; done\n"
              "if [ $RANK = 1 ]; then kill -9 $$; fi\n"
              "sleep 1000 & wait");
  EXPECT_EQ(run.wait(), 128 + SIGKILL);
  EXPECT_THAT(run.err(), HasSubstr("ringrun: rank 1 (pid"));
  EXPECT_THAT(run.err(), HasSubstr("was killed by SIGKILL"));
  EXPECT_THAT(run.err(), HasSubstr("it failed first"));
}

TEST(Ringrun, LeavesNoOrphanWhenItIsKilled) {
  Ringrun run({"--nproc-per-node", "3"}, std::string(kDeafFamily) + "wait");
  ASSERT_TRUE(run.wait_for("pids", 6));
  run.send(SIGKILL);
  EXPECT_EQ(run.wait(), -SIGKILL);
  EXPECT_TRUE(run.all_gone());
}

TEST(Ringrun, LeavesNoChildOfARankThatEnded) {
  Ringrun run({"--nproc-per-node", "2"}, kDeafFamily);
  EXPECT_EQ(run.wait(), 0);
  EXPECT_TRUE(run.all_gone());
}

TEST(Ringrun, PassesSignalsOnAndWaitsForTheRanks) {
  Ringrun run({"--nproc-per-node", "2"},
              "trap 'echo >> $DIR/told' USR1\n"
              "trap 'while ! [ -e $DIR/may_end ]; do sleep 0.01; done; echo saved; exit 0' TERM\n"
              "echo >> $DIR/ready\n"
              "while true; do sleep 0.01; done");
  ASSERT_TRUE(run.wait_for("ready", 2));
  run.send(SIGUSR1);
  ASSERT_TRUE(run.wait_for("told", 2));
  run.send(SIGTERM);
  ASSERT_TRUE(comes_true([&] { return run.err().find("SIGTERM received") != std::string::npos; }));
  EXPECT_EQ(run.count_in("may_end"), 0);
  run.touch("may_end");
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_THAT(run.out(), HasSubstr("[rank 0] saved\n"));
  EXPECT_THAT(run.out(), HasSubstr("[rank 1] saved\n"));
}

// A scheduler's warning that comes while a rank starts must not end it.
TEST(Ringrun, AUserSignalWaitsForItsHandler) {
  Ringrun run({"--nproc-per-node", "2"},
              "echo >> $DIR/ready\n"
              "while ! [ -e $DIR/go ]; do sleep 0.01; done\n"
              "trap 'echo >> $DIR/told; exit 0' USR1\n"
              "while true; do sleep 0.01; done");
  ASSERT_TRUE(run.wait_for("ready", 2));
  run.send(SIGUSR1);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // nothing is to happen
  run.touch("go");
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(run.count_in("told"), 2);
}

TEST(Ringrun, RanksWithoutHandlerEndOnSigterm) {
  Ringrun run({"--nproc-per-node", "2"}, "echo >> $DIR/ready; exec sleep 1000");
  ASSERT_TRUE(run.wait_for("ready", 2));
  run.send(SIGTERM);
  EXPECT_EQ(run.wait(), 128 + SIGTERM);
  EXPECT_THAT(run.err(), Not(HasSubstr("failed first")));
  EXPECT_THAT(run.err(), HasSubstr("stopped by SIGTERM; ranks 0, 1 ended of it"));
}

// A closed terminal or a scheduler's limit is a reason to save and end, like the others.
TEST(Ringrun, HangUpAndTimeLimitEndTheRunAndAreNoFailure) {
  for (const auto& [signal, name] : {std::pair(SIGHUP, "SIGHUP"), std::pair(SIGXCPU, "SIGXCPU")}) {
    Ringrun run({"--nproc-per-node", "2"}, "ulimit -c 0; echo >> $DIR/ready; exec sleep 1000");
    ASSERT_TRUE(run.wait_for("ready", 2));
    run.send(signal);
    EXPECT_EQ(run.wait(), 128 + signal);
    EXPECT_THAT(run.err(), HasSubstr(std::string("stopped by ") + name + "; ranks 0, 1 ended of it"));
    EXPECT_THAT(run.err(), Not(HasSubstr("failed first")));
  }
}

// One rank has no handler yet, the other loses it while it starts: neither is at fault.
TEST(Ringrun, APeerOfWhoEndedAsToldIsNotAtFault) {
  Ringrun run({"--nproc-per-node", "2"},
              "echo $$ >> $DIR/pids\n"
              "if [ $RANK = 1 ]; then echo >> $DIR/ready; exec sleep 1000; fi\n"
              "trap 'while kill -0 $(cat $DIR/one); do sleep 0.01; done 2>/dev/null; "
              "echo \"x: communication failed: rank 1 died\" >&2; exit 1' TERM\n"
              "while ! [ -s $DIR/one ]; do grep -v \"^$$\\$\" $DIR/pids > $DIR/one; sleep 0.01; done\n"
              "echo >> $DIR/ready; while true; do sleep 0.01; done");
  ASSERT_TRUE(run.wait_for("ready", 2));
  run.send(SIGTERM);
  EXPECT_EQ(run.wait(), 128 + SIGTERM) << run.err();
  EXPECT_THAT(run.err(), HasSubstr("stopped by SIGTERM; rank 1 ended of it"));
  EXPECT_THAT(run.err(), Not(HasSubstr("failed first")));
}

// Slurm and shells signal the ranks as well as ringrun.
TEST(Ringrun, SignalToRanksAndLauncherIsNoFailure) {
  Ringrun run({"--nproc-per-node", "2"}, "echo $$ >> $DIR/pids; exec sleep 1000");
  ASSERT_TRUE(run.wait_for("pids", 2));
  std::istringstream pids(run.text_of("pids"));
  run.send(SIGSTOP);  // so that it finds them dead and its own signal at once
  for (std::string pid; pids >> pid;) {
    ::kill(std::stoi(pid), SIGTERM);
    ASSERT_TRUE(comes_true([&] { return testing::gone(pid); }));
  }
  run.send(SIGTERM);
  run.send(SIGCONT);
  EXPECT_EQ(run.wait(), 128 + SIGTERM);
  EXPECT_THAT(run.err(), Not(HasSubstr("failed first"))) << run.err();
}

TEST(Ringrun, AFailureWhileSavingIsNamedThoughTheRunWasToldToStop) {
  Ringrun run({"--nproc-per-node", "2"},
              "trap '[ $RANK = 1 ] && echo \"x: disk full\" >&2 && exit 1; exit 0' TERM\n"
              "echo >> $DIR/ready; while true; do sleep 0.01; done");
  ASSERT_TRUE(run.wait_for("ready", 2));
  run.send(SIGTERM);
  EXPECT_EQ(run.wait(), 1);
  EXPECT_THAT(run.err(), HasSubstr("its last line on stderr: x: disk full"));
}

TEST(Ringrun, RepeatsAllLinesOfAMessage) {
  Ringrun run({},
              "printf 'x: 2 faults:\\n  1. this\\n  2. that\\n[W1129 22:41:07.1 socket.cpp:7] no name\\n' >&2; exit 2");
  EXPECT_EQ(run.wait(), 2);
  EXPECT_THAT(run.err(), HasSubstr("ringrun: x: 2 faults:\nringrun:   1. this\nringrun:   2. that\n"));
}

TEST(Ringrun, SecondInterruptKills) {
  Ringrun run({"--nproc-per-node", "2", "--stop-grace", "1000"}, std::string(kDeafFamily) + "wait");
  ASSERT_TRUE(run.wait_for("pids", 4));
  run.send(SIGINT);
  ASSERT_TRUE(comes_true([&] { return run.err().find("SIGINT received") != std::string::npos; }));
  run.send(SIGINT);
  EXPECT_EQ(run.wait(), 128 + SIGINT);
  EXPECT_TRUE(run.all_gone());
}

TEST(Ringrun, StopGraceEnds) {
  Ringrun run({"--stop-grace", "0"}, std::string(kDeafFamily) + "wait");
  ASSERT_TRUE(run.wait_for("pids", 2));
  run.send(SIGTERM);
  EXPECT_EQ(run.wait(), 128 + SIGTERM);
  EXPECT_TRUE(run.all_gone());
}

TEST(Ringrun, NamesARankThatIsStopped) {
  Ringrun run({"--nproc-per-node", "2"}, "if [ $RANK = 1 ]; then echo $$ > $DIR/pid; kill -STOP $$; fi; exit 0");
  ASSERT_TRUE(comes_true([&] { return run.err().find("is stopped (SIGSTOP)") != std::string::npos; })) << run.err();
  EXPECT_THAT(run.err(), HasSubstr("rank 1 (pid "));
  EXPECT_THAT(run.err(), Not(HasSubstr("rank 0 (pid ")));
  ASSERT_TRUE(run.wait_for("pid", 1));
  ::kill(std::stoi(run.text_of("pid")), SIGCONT);
  EXPECT_EQ(run.wait(), 0);
}

// The others wait until their timeouts; one of them, 2, for a rank that itself waits.
TEST(Ringrun, NamesWhoFroze) {
  Ringrun run({"--nproc-per-node", "4"},
              "if [ $RANK = 1 ]; then kill -STOP $$; fi\n"
              "say() { echo \"x: communication failed: $1 group (ranks $2): all_reduce number 5 failed on rank $RANK: "
              "no rank is known to have died; timeout 1 ms\" >&2; exit 1; }\n"
              "[ $RANK = 2 ] && say data 0,2; say tensor 0,1,3");
  EXPECT_EQ(run.wait(), 1);
  const std::string err = run.err();
  const std::string last = err.substr(err.rfind('\n', err.size() - 2) + 1);
  EXPECT_THAT(last, HasSubstr("ringrun: rank 1 (pid"));
  EXPECT_THAT(last, HasSubstr("froze: it is stopped"));
  EXPECT_THAT(last, HasSubstr("all_reduce number 5 of the tensor group (ranks 0,1,3)"));
}

// Node 0 of two: rank 0 waits for rank 3 of the other, and rank 1 says that it waited when it is told to end, of which
// it dies. Nobody here froze.
TEST(Ringrun, OfTwoNodesNobodyHereFroze) {
  Ringrun run(
      {"--nproc-per-node", "2", "--nnodes", "2", "--node-rank", "0", "--master-addr", "127.0.0.1", "--rdzv-id", "x"},
      "say() { echo \"x: communication failed: context group (ranks 0,1,2,3): exchange number 5 failed on rank $RANK"
      "$1: no rank is known to have died; timeout 1 ms\" >&2; }\n"
      "if [ $RANK = 0 ]; then while ! [ -s $DIR/ready ]; do sleep 0.01; done; say ', waiting for rank 3'; exit 1; fi\n"
      "trap 'say; trap - TERM; kill -TERM $$' TERM\n"
      "echo x > $DIR/ready; while :; do sleep 0.01; done");
  EXPECT_EQ(run.wait(), 1);
  EXPECT_THAT(run.err(), HasSubstr("ringrun: rank 0 (pid"));
  EXPECT_THAT(run.err(), Not(HasSubstr("froze"))) << run.err();
}

// The shell of rank 0 only waits; what it has started is stopped.
TEST(Ringrun, NamesWhoFrozeBehindAScript) {
  Ringrun run(
      {"--nproc-per-node", "2"},
      "export DIR\nif [ $RANK = 0 ]; then sh -c 'echo $$ > $DIR/stopped; kill -STOP $$'; fi\n"
      "while ! [ -s $DIR/stopped ]; do sleep 0.01; done\n"
      "while ! grep -qs ') T ' /proc/$(cat $DIR/stopped)/stat; do sleep 0.01; done\n"
      "echo 'x: communication failed: world group (ranks 0,1): barrier number 1 failed on rank 1: no rank is known to have died' >&2\n"
      "exit 1");
  EXPECT_EQ(run.wait(), 1);
  EXPECT_THAT(run.err(), HasSubstr("froze: it is stopped"));
}

TEST(Ringrun, BadOptionIsAUsageError) {
  Ringrun run({"--nproc-per-node", "none"}, "true");
  EXPECT_EQ(run.wait(), 2);
  EXPECT_THAT(run.err(), HasSubstr("--nproc-per-node"));
}

}  // namespace
}  // namespace ringtron
