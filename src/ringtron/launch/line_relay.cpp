#include "ringtron/launch/line_relay.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::size_t kLongestLine = 64 * 1024;

constexpr std::size_t kReadSize = 16 * 1024;
constexpr int kReadsOfPump = 4;
constexpr int kReadsOfFinish = 128;  // more than any pipe holds; who still writes then is no rank

}  // namespace

LineRelay::LineRelay(int from, OutputQueue& to, std::string prefix)
    : from_(from), to_(&to), prefix_(std::move(prefix)) {}

LineRelay::LineRelay(LineRelay&& other) noexcept
    : from_(std::exchange(other.from_, -1)),
      to_(other.to_),
      prefix_(std::move(other.prefix_)),
      partial_(std::move(other.partial_)),
      last_line_(std::move(other.last_line_)),
      words_(std::move(other.words_)) {}

LineRelay::~LineRelay() {
  if (from_ >= 0) ::close(from_);
}

void LineRelay::pump() { pump(kReadsOfPump); }

void LineRelay::pump(int reads) {
  std::array<char, kReadSize> buffer;
  for (int i = 0; i < reads && from_ >= 0; ++i) {
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
  pump(kReadsOfFinish);
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
  words_.add_line(line);
  std::string text = prefix_;
  text.append(line);
  text.push_back('\n');
  to_->put(std::move(text));
}

}  // namespace ringtron
