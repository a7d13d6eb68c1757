// Says on stderr what a program is doing now, so that silence does not look like a hang.
//
//   ProgressLine progress("verify_cp", environment.rank == 0);
//   progress.at("one process");
//   progress.step(2, 3);  // verify_cp: one process, 2 of 3 steps (7 s)
//   progress.clear();     // before something else is printed
//
// A thread of its own says it, so a step that takes long does not silence it. On a terminal it is one line,
// rewritten twice a second; elsewhere a line whenever two seconds have passed since the last: what is quicker
// stays silent there. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "ringtron/base/clock.h"

namespace ringtron {

class ProgressLine {
 public:
  // Without `speaks` nothing is ever said.
  ProgressLine(std::string program, bool speaks);
  // To another open file, which must outlive it, with another time between lines.
  ProgressLine(std::string program, int fd, std::chrono::milliseconds period);
  ~ProgressLine();  // as clear()
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // `what` begins. A terminal shows it at once.
  void at(const std::string& what);
  // So far of what at() named.
  void step(int done, int total);
  // Nothing is being done until the next at(); a terminal's line is wiped.
  void clear();

 private:
  void say();  // with the lock
  void print_until_stopped();

  const std::string program_;
  const int fd_;  // -1: silent
  const bool terminal_;
  const std::chrono::milliseconds period_;
  const SteadyClock::time_point start_ = SteadyClock::now();
  std::mutex mutex_;
  std::condition_variable changed_;
  SteadyClock::time_point said_ = start_;
  std::string what_;  // empty: nothing to say
  int done_ = 0, total_ = 0;
  bool stopping_ = false;
  std::thread speaker_;
};

}  // namespace ringtron
