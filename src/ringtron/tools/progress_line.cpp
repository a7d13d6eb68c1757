#include "ringtron/tools/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace ringtron {
namespace {

constexpr auto kTerminalPeriod = std::chrono::milliseconds(500);
constexpr auto kLinePeriod = std::chrono::seconds(2);
constexpr const char* kEraseToEnd = "\x1b[K";

}  // namespace

ProgressLine::ProgressLine(std::string program, bool speaks)
    : ProgressLine(std::move(program), speaks ? STDERR_FILENO : -1,
                   ::isatty(STDERR_FILENO) == 1 ? kTerminalPeriod : kLinePeriod) {}

ProgressLine::ProgressLine(std::string program, int fd, std::chrono::milliseconds period)
    : program_(std::move(program)), fd_(fd), terminal_(fd >= 0 && ::isatty(fd) == 1), period_(period) {
  if (fd_ >= 0) speaker_ = std::thread([this] { print_until_stopped(); });
}

ProgressLine::~ProgressLine() {
  if (fd_ < 0) return;
  clear();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  speaker_.join();
}

void ProgressLine::at(const std::string& what) {
  if (fd_ < 0) return;
  const std::lock_guard lock(mutex_);
  what_ = what;
  done_ = total_ = 0;
  if (terminal_) say();
  changed_.notify_one();
}

void ProgressLine::step(int done, int total) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  total_ = total;
}

void ProgressLine::clear() {
  if (fd_ < 0) return;
  const std::lock_guard lock(mutex_);
  if (terminal_ && !what_.empty()) ::dprintf(fd_, "\r%s", kEraseToEnd);
  what_.clear();
}

void ProgressLine::say() {
  std::string line = fmt::format("{}: {}", program_, what_);
  if (total_ > 0) line += fmt::format(", {} of {} steps", done_, total_);
  line += fmt::format(" ({:.0f} s)", seconds_since(start_));
  // One write each, so that lines of several ranks do not mix.
  if (terminal_) {
    ::dprintf(fd_, "\r%s%s", line.c_str(), kEraseToEnd);
  } else {
    ::dprintf(fd_, "%s\n", line.c_str());
  }
  said_ = SteadyClock::now();
}

void ProgressLine::print_until_stopped() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (what_.empty()) {
      changed_.wait(lock);
    } else if (SteadyClock::now() - said_ < period_) {
      changed_.wait_until(lock, said_ + period_);
    } else {
      say();
    }
  }
}

}  // namespace ringtron
