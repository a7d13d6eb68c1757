#include "ringtron/base/log.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

namespace ringtron {
namespace {

void write_line(int fd, std::string line) {
  line.push_back('\n');
  const char* data = line.data();
  std::size_t left = line.size();
  while (left > 0) {
    const ssize_t n = ::write(fd, data, left);
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return;  // a closed pipe must not end a training run
    }
    data += n;
    left -= static_cast<std::size_t>(n);
  }
}

}  // namespace

void print_line(std::string_view line) {
  std::fflush(stdout);
  write_line(STDOUT_FILENO, std::string(line));
}

void warn_line(std::string_view line) { write_line(STDERR_FILENO, "WARNING: " + std::string(line)); }

}  // namespace ringtron
