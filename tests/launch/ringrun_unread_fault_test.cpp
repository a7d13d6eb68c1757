// Output that nobody reads: ringrun hears signals and sees deaths all the same, and the ranks do not wait.
#include <gmock/gmock.h>
#include <poll.h>

#include "tests/launch/ringrun_process.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::Ringrun;

// A pipe whose other end is read only when asked.
class Unread {
 public:
  Unread() { EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  ~Unread() {
    close_reader();
    ::close(ends_[1]);
  }
  int writer() const { return ends_[1]; }
  void close_reader() {
    if (ends_[0] >= 0) ::close(ends_[0]);
    ends_[0] = -1;
  }
  // What is in it; ringrun has ended.
  std::string rest() {
    std::string text;
    std::array<char, 65536> buffer;
    pollfd ready = {.fd = ends_[0], .events = POLLIN, .revents = 0};
    while (::poll(&ready, 1, 0) == 1) {
      const ssize_t n = ::read(ends_[0], buffer.data(), buffer.size());
      if (n <= 0) break;
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return text;
  }

 private:
  int ends_[2] = {-1, -1};
};

// Ranks write 6 MB each, more than is kept, to the stream of descriptor $1; then they say that they are ready. 10 lines
// a write, so that the shell is quick about it.
std::string flood(int stream) {
  return "line=" + std::string(999, 'x') + "\nten=$(for i in 0 1 2 3 4 5 6 7 8 9; do echo $line; done)\n" +
         "trap 'echo >> $DIR/saved; exit 0' TERM INT HUP\n"
         "i=0; while [ $i -lt 600 ]; do echo \"$ten\" >&" +
         std::to_string(stream) + "; i=$((i+1)); done\necho >> $DIR/ready\n";
}

const char* const kThenWait = "while true; do sleep 0.01; done";

class UnreadStream : public ::testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(UnreadStream, RanksGoOnAndSignalsAreServed) {
  const auto& [stream, signal] = GetParam();
  const bool out = std::string(stream) != "stderr", err = std::string(stream) != "stdout";
  Unread pipe;
  Ringrun run({"--nproc-per-node", "2"}, flood(out ? 1 : 2) + kThenWait,
              {out ? pipe.writer() : -1, err ? pipe.writer() : -1});
  ASSERT_TRUE(run.wait_for("ready", 2));
  run.send(signal);
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.count_in("saved"), 2);
  const std::string text = pipe.rest();
  EXPECT_THAT(text, HasSubstr("are missing here"));
  // The verdict goes to stderr. Where that is the pipe, it stands at its end: what is old was dropped.
  EXPECT_THAT(err ? text : run.err(), HasSubstr("all ranks ended by themselves, with exit code 0\n"));
}

INSTANTIATE_TEST_SUITE_P(All, UnreadStream,
                         ::testing::Values(std::tuple("stdout", SIGTERM), std::tuple("stderr", SIGINT),
                                           std::tuple("both", SIGHUP)));

TEST(RingrunUnread, AKilledRankIsNamed) {
  Unread pipe;
  Ringrun run({"--nproc-per-node", "2"}, flood(1) + "[ $RANK = 1 ] && kill -9 $$\n" + kThenWait,
              {pipe.writer(), pipe.writer()});
  EXPECT_EQ(run.wait(), 128 + SIGKILL);
  EXPECT_THAT(pipe.rest(), HasSubstr("ringrun: rank 1 (pid"));
}

TEST(RingrunUnread, SecondInterruptKills) {
  Unread pipe;
  Ringrun run({"--stop-grace", "1000"}, flood(1) + "trap '' INT\necho >> $DIR/deaf\n" + kThenWait,
              {pipe.writer(), pipe.writer()});
  ASSERT_TRUE(run.wait_for("deaf", 1));
  run.send(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // else the two may arrive as one
  run.send(SIGINT);
  EXPECT_EQ(run.wait(), 128 + SIGINT);
}

// Slow is not stopped: nothing is lost to a reader that reads.
TEST(RingrunUnread, ASlowReaderGetsEverything) {
  Unread pipe;
  Ringrun run({}, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", {pipe.writer(), -1});
  std::string text;
  std::thread reader([&] {
    while (text.find("line 19999\n") == std::string::npos) {
      std::string now = pipe.rest();
      text += now;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  EXPECT_EQ(run.wait(), 0);
  reader.join();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20000);
  EXPECT_THAT(text, Not(HasSubstr("missing")));
}

TEST(RingrunUnread, AReaderThatLeftEndsNothing) {
  Unread pipe;
  pipe.close_reader();
  Ringrun run({}, flood(1) + "echo done > $DIR/result", {pipe.writer(), -1});
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(run.text_of("result"), "done\n");
}

// A file at its size limit (SIGXFSZ) or a full disk.
TEST(RingrunUnread, AFullLogEndsNothingAndIsTold) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (full < 0) GTEST_SKIP() << "this machine has no /dev/full";
  Ringrun run({}, "echo one; echo two; echo done > $DIR/result", {full, -1});
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(run.text_of("result"), "done\n");
  EXPECT_THAT(run.err(), HasSubstr("the last 2 lines of stdout are lost"));
  ::close(full);
}

}  // namespace
}  // namespace ringtron
