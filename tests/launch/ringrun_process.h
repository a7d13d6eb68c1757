// A real ringrun over small shell programs, as the tests of this folder start it.
//
// Each wait is for a condition, with a deadline that only a broken supervisor reaches.
#pragma once

#include <fcntl.h>
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
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace ringtron::testing {

inline constexpr std::chrono::seconds kDeadline(60);

inline std::string content(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline bool comes_true(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// A zombie counts as gone: whoever adopted it has only to collect it.
inline bool gone(const std::string& pid) {
  const std::string stat = content("/proc/" + pid + "/stat");
  const std::size_t name_end = stat.rfind(") ");
  return name_end == std::string::npos || stat[name_end + 2] == 'Z' || stat[name_end + 2] == 'X';
}

// One ringrun, with a folder that the ranks know as $DIR. Scripts write the numbers of processes that must
// not survive to $DIR/pids.
class Ringrun {
 public:
  // Where ringrun's own stdout and stderr go: -1, a file; otherwise this descriptor.
  struct Output {
    int out = -1;
    int err = -1;
  };

  Ringrun(std::vector<std::string> options, const std::string& script)
      : Ringrun(std::move(options), script, Output()) {}
  Ringrun(std::vector<std::string> options, const std::string& script, Output output) : output_(output) {
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
    EXPECT_TRUE(comes_true([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; })) << "ringrun did not end\n"
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
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_DFL);
    const auto file = [&](const char* name) {
      return ::open((folder_ / name).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    };
    ::dup2(output_.out >= 0 ? output_.out : file("out"), STDOUT_FILENO);
    ::dup2(output_.err >= 0 ? output_.err : file("err"), STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(99);
  }

  TempDir folder_;
  Output output_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

}  // namespace ringtron::testing
