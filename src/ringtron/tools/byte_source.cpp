#include "ringtron/tools/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

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

struct Compression {
  std::string_view magic;
  const char* name;
  const char* command;  // writes the plain bytes to standard output
};
constexpr std::string_view kGzipMagic = "\x1f\x8b";
constexpr std::array<Compression, 4> kCompressions = {{{"BZh", "bzip2", "bzip2 -dc"},
                                                       {{"\xfd"
                                                         "7zXZ\0",
                                                         6},
                                                        "xz",
                                                        "xz -dc"},
                                                       {"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"},
                                                       {"PK\x03\x04", "zip", "unzip -p"}}};

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

// zlib, member after member.
class ByteSource::Gunzip {
 public:
  Gunzip(Raw& raw, std::string_view head) : raw_(raw), out_(kPiece, '\0') {
    feed(head);
    constexpr int kGzip = 16;
    if (::inflateInit2(&stream_, MAX_WBITS + kGzip) != Z_OK) throw IoError("no memory for zlib");
  }
  ~Gunzip() { ::inflateEnd(&stream_); }
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;

  std::string_view next(std::size_t least) {
    stream_.next_out = reinterpret_cast<Bytef*>(out_.data());
    stream_.avail_out = static_cast<uInt>(out_.size());
    while (out_.size() - stream_.avail_out < least && more_input()) inflate_some();
    return {out_.data(), out_.size() - stream_.avail_out};
  }

 private:
  void feed(std::string_view bytes) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
  }

  // False at the end of the last member.
  bool more_input() {
    if (stream_.avail_in == 0) feed(raw_.next());
    if (inside_) {
      if (stream_.avail_in == 0) fail("the file is cut off");
      return true;
    }
    // Some programs fill the last block of a medium with zeros.
    while (stream_.avail_in > 0 && *stream_.next_in == 0) {
      ++stream_.next_in;
      if (--stream_.avail_in == 0) feed(raw_.next());
    }
    if (stream_.avail_in == 0) return false;
    if (*stream_.next_in != 0x1f) fail("other bytes follow the compressed ones");
    ::inflateReset(&stream_);
    inside_ = true;
    return true;
  }

  void inflate_some() {
    const int code = ::inflate(&stream_, Z_NO_FLUSH);
    if (code == Z_STREAM_END) {
      inside_ = false;
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      fail(stream_.msg == nullptr ? "damaged" : stream_.msg);
    }
  }

  [[noreturn]] void fail(const char* why) const {
    throw IoError(
        fmt::format("cannot read {}: gzip data: {}. Expected a whole gzip file; get it again", raw_.name(), why));
  }

  Raw& raw_;
  std::string out_;
  z_stream stream_{};
  bool inside_ = true;
};

ByteSource::ByteSource(const std::string& path, const ReadContext& context)
    : raw_(std::make_unique<Raw>(path, context)) {}

ByteSource::~ByteSource() = default;

std::string_view ByteSource::next() {
  if (gunzip_) return gunzip_->next(1);
  if (!first_) return raw_->next();
  first_ = false;
  const std::string_view head = raw_->next(kHead);
  if (head.starts_with(kGzipMagic)) {
    gunzip_ = std::make_unique<Gunzip>(*raw_, head);
    return gunzip_->next(kHead);
  }
  if (const std::string why = refused_compression(raw_->name(), head); !why.empty()) {
    throw ConfigError(fmt::format("--input {}: {}", raw_->name(), why));
  }
  return head;
}

std::string refused_compression(const std::string& path, std::string_view head) {
  for (const Compression& compression : kCompressions) {
    if (head.starts_with(compression.magic)) {
      return fmt::format(
          "{} data, which is not read here; expected plain text or gzip. Give it as: {} {} | PROGRAM --input - ...",
          compression.name, compression.command, path);
    }
  }
  return "";
}

}  // namespace ringtron
