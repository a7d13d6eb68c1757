#include "ringtron/base/log.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "ringtron/base/error.h"
#include "ringtron/base/result_line.h"
#include "ringtron/base/shown_message.h"

namespace ringtron {
namespace {

// What is written of the line; less than all of it on an error, which errno names.
std::size_t write_line(int fd, std::string_view line) {
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(fd, line.data() + done, line.size() - done);
    if (n >= 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN) {  // someone else made the descriptor non-blocking
      pollfd ready{fd, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      break;
    }
  }
  return done;
}

// Lines that stdout did not take.
std::atomic<std::int64_t> lost_lines = 0;

void note_lost(int error) {
  if (lost_lines.fetch_add(1) == 0) {
    warn_line("standard output cannot be written ({}): log lines are lost until it can", std::strerror(error));
  }
}

// Once lines are taken again.
void report_lost_lines() {
  if (lost_lines.load(std::memory_order_relaxed) == 0) return;
  const std::int64_t lost = lost_lines.exchange(0);
  if (lost == 0) return;
  const std::string text = fmt::format("\nWARNING: {} log lines before this one could not be written\n", lost);
  if (write_line(STDOUT_FILENO, text) != text.size()) lost_lines += lost;
}

}  // namespace

void print_line(std::string_view line) {
  std::fflush(stdout);
  report_lost_lines();
  const std::string text = shown_message(line) + "\n";
  if (write_line(STDOUT_FILENO, text) != text.size()) note_lost(errno);
}

void print_result(std::string_view text) {
  std::fflush(stdout);
  const std::string whole = std::string(text) + "\n";
  if (write_line(STDOUT_FILENO, whole) == whole.size()) return;
  throw IoError(
      fmt::format("standard output cannot be written ({}): what was asked for is not printed, or only in part",
                  std::strerror(errno)));
}

void warn_line(std::string_view line) { write_line(STDERR_FILENO, fmt::format("WARNING: {}\n", shown_message(line))); }

}  // namespace ringtron
