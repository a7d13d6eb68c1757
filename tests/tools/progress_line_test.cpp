#include "ringtron/tools/progress_line.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <utility>

namespace ringtron {
namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

// Where a program writes, and where a test reads it.
struct Channel {
  int read_end = -1, write_end = -1;

  ~Channel() {
    if (write_end >= 0) ::close(write_end);
    if (read_end >= 0) ::close(read_end);
  }

  char next() const {
    char c = '\0';
    return ::read(read_end, &c, 1) == 1 ? c : '\0';
  }
  std::string line() const {
    std::string line;
    for (char c = next(); c != '\n' && c != '\0'; c = next()) line += c;
    return line;
  }
  // All that was written, which nobody does any more.
  std::string rest() {
    ::close(std::exchange(write_end, -1));
    std::string text;
    for (char c = next(); c != '\0'; c = next()) text += c;
    return text;
  }
};

Channel make_pipe() {
  std::array<int, 2> ends = {-1, -1};
  EXPECT_EQ(::pipe(ends.data()), 0);
  return {ends[0], ends[1]};
}

Channel make_terminal() {
  const int here = ::posix_openpt(O_RDWR | O_NOCTTY);
  EXPECT_EQ(::grantpt(here), 0);
  EXPECT_EQ(::unlockpt(here), 0);
  return {here, ::open(::ptsname(here), O_RDWR | O_NOCTTY)};
}

TEST(ProgressLine, SaysMoreWhileNobodyCalls) {
  const Channel pipe = make_pipe();
  ProgressLine progress("profile_cp", pipe.write_end, 10ms);
  progress.at("attention");
  EXPECT_THAT(pipe.line(), StartsWith("profile_cp: attention"));
  progress.step(2, 5);
  std::string line = pipe.line();
  while (line.find("2 of 5") == std::string::npos) line = pipe.line();  // said before step() was called
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(line, MatchesRegex("profile_cp: attention, 2 of 5 steps \\([0-9]+ s\\)"));
    line = pipe.line();
  }
  progress.at("the trace");
  while (line.find("attention") != std::string::npos) line = pipe.line();
  EXPECT_THAT(line, MatchesRegex("profile_cp: the trace \\([0-9]+ s\\)"));  // its steps are its own
}

TEST(ProgressLine, IsSilentAboutWhatIsQuick) {
  Channel pipe = make_pipe();
  {
    ProgressLine progress("profile_cp", pipe.write_end, 1h);
    progress.at("attention");
    progress.step(1, 5);
    progress.at("the trace");
  }
  EXPECT_THAT(pipe.rest(), IsEmpty());
}

TEST(ProgressLine, OfATerminalIsRewrittenAndWiped) {
  Channel terminal = make_terminal();
  {
    ProgressLine progress("profile_cp", terminal.write_end, 1h);
    progress.at("attention");
    progress.at("the trace");
    progress.clear();
  }
  EXPECT_THAT(terminal.rest(), MatchesRegex("\rprofile_cp: attention \\([0-9]+ s\\)\x1b\\[K"
                                            "\rprofile_cp: the trace \\([0-9]+ s\\)\x1b\\[K"
                                            "\r\x1b\\[K"));
}

}  // namespace
}  // namespace ringtron
