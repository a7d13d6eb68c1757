// The real ringrun over small shell programs: output, exit codes, signals, and nothing left behind.
//
// Each wait is for a condition, with a deadline that only a broken supervisor reaches.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::chrono::seconds kDeadline(60);

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool comes_true(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// A zombie counts as gone: whoever adopted it has only to collect it.
bool gone(const std::string& pid) {
  const std::string stat = content("/proc/" + pid + "/stat");
  const std::size_t name_end = stat.rfind(") ");
  return name_end == std::string::npos || stat[name_end + 2] == 'Z' || stat[name_end + 2] == 'X';
}

// One ringrun, with a folder that the ranks know as $DIR. Scripts write the numbers of processes that must
// not survive to $DIR/pids.
class Ringrun {
 public:
  Ringrun(std::vector<std::string> options, const std::string& script) {
    std::vector<std::string> words = {RINGTRON_BIN_DIR "/ringrun"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"/bin/sh", "-c", "DIR=" + folder_.path().string() + "\n" + script});
    start(words);
  }

  ~Ringrun() {
    if (!ended_) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  void send(int signal) { ::kill(pid_, signal); }

  // The exit code, or minus the signal that killed it.
  int wait() {
    int status = 0;
    EXPECT_TRUE(comes_true([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }))
        << "ringrun did not end\n"
        << err();
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string out() const { return content(folder_ / "out"); }
  std::string err() const { return content(folder_ / "err"); }

  std::string text_of(const std::string& name) const { return content(folder_ / name); }

  int count_in(const std::string& name) const {
    const std::string text = content(folder_ / name);
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }

  void touch(const std::string& name) const { std::ofstream(folder_ / name) << "\n"; }

  // Until `lines` lines are in $DIR/name.
  [[nodiscard]] bool wait_for(const std::string& name, int lines) const {
    return comes_true([&] { return count_in(name) >= lines; });
  }

  [[nodiscard]] bool all_gone() const {
    std::istringstream pids(content(folder_ / "pids"));
    for (std::string pid; pids >> pid;) {
      if (!comes_true([&] { return gone(pid); })) return false;
    }
    return true;
  }

 private:
  void start(const std::vector<std::string>& words) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    // A test run in the background has these ignored, and ringrun would respect it.
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
    ::dup2(::open((folder_ / "out").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDOUT_FILENO);
    ::dup2(::open((folder_ / "err").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(99);
  }

  ringtron::testing::TempDir folder_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

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

TEST(Ringrun, WithoutPrefix) {
  Ringrun run({"--no-prefix"}, "echo $RANK-$0");
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.out(), "0-/bin/sh\n");
}

// The end of a rank's output wakes ringrun a moment before the rank is dead: it must not sleep over the death. That moment is
// short, so many times.
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

TEST(Ringrun, RanksWithoutHandlerEndOnSigterm) {
  Ringrun run({"--nproc-per-node", "2"}, "echo >> $DIR/ready; exec sleep 1000");
  ASSERT_TRUE(run.wait_for("ready", 2));
  run.send(SIGTERM);
  EXPECT_EQ(run.wait(), 128 + SIGTERM);
  EXPECT_THAT(run.err(), Not(HasSubstr("failed first")));
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

TEST(Ringrun, BadOptionIsAUsageError) {
  Ringrun run({"--nproc-per-node", "none"}, "true");
  EXPECT_EQ(run.wait(), 2);
  EXPECT_THAT(run.err(), HasSubstr("--nproc-per-node"));
}

}  // namespace
}  // namespace ringtron
