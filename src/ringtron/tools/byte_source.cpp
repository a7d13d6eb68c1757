#include "ringtron/tools/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"

namespace ringtron {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::size_t kHead = 8192;
constexpr int kPollMilliseconds = 100;
constexpr double kSilentSeconds = 2;

// What is not read here, and the command that writes the plain bytes to standard output.
struct Refused {
  std::string_view magic;
  const char* name;
  const char* command;
};
constexpr std::array<Refused, 3> kRefused = {{{{"\xfd"
                                                "7zXZ\0",
                                                6},
                                               "xz",
                                               "xz -dc"},
                                              {"PK\x03\x04", "zip", "unzip -p"},
                                              {"\x04\x22\x4d\x18", "lz4", "lz4 -dc"}}};
constexpr std::string_view kParquet = "PAR1";

}  // namespace

// A descriptor that is read without ever waiting longer than an interruption may take.
class ByteSource::Raw {
 public:
  Raw(const std::string& path, const ReadContext& context)
      : name_(path == "-" ? "standard input" : path), context_(context), buffer_(kPiece, '\0') {
    // Opening a FIFO would wait for its writer; without waiting, poll() can be interrupted.
    fd_ = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd_ < 0) throw IoError(fmt::format("cannot open {}: {}", name_, std::strerror(errno)));
    struct stat info{};
    waits_ = ::fstat(fd_, &info) == 0 && !S_ISREG(info.st_mode);
  }
  ~Raw() { ::close(fd_); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  // At least `least` bytes or all that is left.
  std::string_view next(std::size_t least = 1) {
    std::size_t count = 0;
    while (count < least) {
      if (context_.interrupted) throw IoError("interrupted; nothing was written");
      if (waits_) wait();
      const ssize_t got = ::read(fd_, buffer_.data() + count, buffer_.size() - count);
      if (got == 0) break;
      if (got > 0) {
        count += static_cast<std::size_t>(got);
        if (context_.consumed != nullptr && !waits_) *context_.consumed += got;
      } else if (errno != EINTR && errno != EAGAIN) {
        throw IoError(fmt::format("cannot read {}: {}", name_, std::strerror(errno)));
      }
    }
    return {buffer_.data(), count};
  }

  const std::string& name() const { return name_; }

 private:
  void wait() {
    const auto start = SteadyClock::now();
    while (true) {
      pollfd entry{fd_, POLLIN, 0};
      const int ready = ::poll(&entry, 1, kPollMilliseconds);
      if (context_.interrupted) throw IoError("interrupted; nothing was written");
      if (ready > 0 || (ready < 0 && errno != EINTR)) return;
      if (!told_ && seconds_since(start) >= kSilentSeconds) {
        context_.notice(fmt::format("waiting for {}: nothing comes", name_));
        told_ = true;
      }
    }
  }

  std::string name_;
  const ReadContext& context_;
  std::string buffer_;
  int fd_ = -1;
  bool waits_ = false, told_ = false;
};

ByteSource::ByteSource(const std::string& path, const ReadContext& context)
    : raw_(std::make_unique<Raw>(path, context)) {}

ByteSource::~ByteSource() = default;

std::string_view ByteSource::next() {
  if (decompressor_) return decompressor_->next(1);
  if (!first_) return raw_->next();
  first_ = false;
  const std::string_view head = raw_->next(kHead);
  if (const auto compression = compression_of(head)) {
    decompressor_ = make_decompressor(*compression, raw_->name(), head, [this] { return raw_->next(); });
    return decompressor_->next(kHead);
  }
  if (const std::string why = refused_format(raw_->name(), head); !why.empty()) {
    throw ConfigError(fmt::format("--input {}: {}", raw_->name(), why));
  }
  return head;
}

std::string refused_format(const std::string& path, std::string_view head) {
  if (head.starts_with(kParquet)) {
    return fmt::format(
        "Parquet, which is not read here; expected JSON lines or text. Convert it: python3 -c 'import pandas, sys; "
        "pandas.read_parquet(sys.argv[1]).to_json(sys.stdout, orient=\"records\", lines=True)' {} | PROGRAM --input - ...",
        path);
  }
  for (const Refused& format : kRefused) {
    if (!head.starts_with(format.magic)) continue;
    return fmt::format(
        "{} data, which is not read here; expected plain text, gzip, bzip2 or zstd. Give it as: {} {} | PROGRAM --input "
        "- ...",
        format.name, format.command, path);
  }
  return "";
}

}  // namespace ringtron
