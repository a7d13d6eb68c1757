#include "ringtron/launch/line_relay.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::size_t kLongestLine = 64 * 1024;

// Gives up silently when nobody reads any more: a closed terminal must not end a training run.
void write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd wait = {.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace

LineRelay::LineRelay(int from, int to, std::string prefix)
    : from_(from), to_(to), prefix_(std::move(prefix)) {}

LineRelay::LineRelay(LineRelay&& other) noexcept
    : from_(std::exchange(other.from_, -1)),
      to_(other.to_),
      prefix_(std::move(other.prefix_)),
      partial_(std::move(other.partial_)),
      last_line_(std::move(other.last_line_)) {}

LineRelay::~LineRelay() {
  if (from_ >= 0) ::close(from_);
}

void LineRelay::pump() {
  std::array<char, 16 * 1024> buffer;
  while (from_ >= 0) {
    const ssize_t n = ::read(from_, buffer.data(), buffer.size());
    if (n > 0) {
      take({buffer.data(), static_cast<std::size_t>(n)});
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
      ::close(from_);
      from_ = -1;
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void LineRelay::finish() {
  pump();
  if (!partial_.empty()) forward(std::exchange(partial_, {}));
  if (from_ >= 0) ::close(std::exchange(from_, -1));
}

void LineRelay::take(std::string_view bytes) {
  for (std::size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
    partial_.append(bytes.substr(0, end));
    forward(std::exchange(partial_, {}));
    bytes.remove_prefix(end + 1);
  }
  partial_.append(bytes);
  if (partial_.size() > kLongestLine) forward(std::exchange(partial_, {}));
}

void LineRelay::forward(std::string_view line) {
  if (!trim(line).empty()) last_line_ = line;
  std::string text = prefix_;
  text.append(line);
  text.push_back('\n');
  write_whole(to_, text);
}

}  // namespace ringtron
