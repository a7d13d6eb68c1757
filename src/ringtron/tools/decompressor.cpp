#include "ringtron/tools/decompressor.h"

#include <bzlib.h>
#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <utility>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

struct Buffers {
  std::string_view in;  // not read yet
  char* out = nullptr;
  std::size_t room = 0;
};

struct Damage {
  std::string why;
};

// The formats: begin() before each member but the first; step() reads and writes what it can, and moves the buffers;
// true at the end of a member. Throws Damage.

class Gzip {
 public:
  static constexpr const char* kName = "gzip";
  static bool begins(std::string_view head) { return head.starts_with("\x1f\x8b"); }
  static bool may_begin(char byte) { return byte == '\x1f'; }
  Gzip() {
    constexpr int kFormat = 16;  // gzip's
    if (::inflateInit2(&stream_, MAX_WBITS + kFormat) != Z_OK) throw IoError("no memory for zlib");
  }
  ~Gzip() { ::inflateEnd(&stream_); }
  void begin() { ::inflateReset(&stream_); }
  bool step(Buffers& b) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(b.in.data()));
    stream_.avail_in = static_cast<uInt>(b.in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(b.out);
    stream_.avail_out = static_cast<uInt>(b.room);
    const int code = ::inflate(&stream_, Z_NO_FLUSH);
    b.in.remove_prefix(b.in.size() - stream_.avail_in);
    b.out += b.room - stream_.avail_out;
    b.room = stream_.avail_out;
    if (code == Z_STREAM_END) return true;
    if (code != Z_OK && code != Z_BUF_ERROR) throw Damage{stream_.msg == nullptr ? "damaged" : stream_.msg};
    return false;
  }

 private:
  z_stream stream_{};
};

class Bzip2 {
 public:
  static constexpr const char* kName = "bzip2";
  static bool begins(std::string_view head) {
    return head.size() >= 4 && head.starts_with("BZh") && head[3] >= '1' && head[3] <= '9';
  }
  static bool may_begin(char byte) { return byte == 'B'; }
  Bzip2() { open(); }
  ~Bzip2() { ::BZ2_bzDecompressEnd(&stream_); }
  void begin() {
    ::BZ2_bzDecompressEnd(&stream_);
    open();
  }
  bool step(Buffers& b) {
    stream_.next_in = const_cast<char*>(b.in.data());
    stream_.avail_in = static_cast<unsigned>(b.in.size());
    stream_.next_out = b.out;
    stream_.avail_out = static_cast<unsigned>(b.room);
    const int code = ::BZ2_bzDecompress(&stream_);
    b.in.remove_prefix(b.in.size() - stream_.avail_in);
    b.out += b.room - stream_.avail_out;
    b.room = stream_.avail_out;
    if (code == BZ_STREAM_END) return true;
    if (code == BZ_MEM_ERROR) throw IoError("no memory for libbz2");
    if (code != BZ_OK) throw Damage{code == BZ_DATA_ERROR_MAGIC ? "not bzip2 behind the first bytes" : "damaged"};
    return false;
  }

 private:
  void open() {
    stream_ = {};
    if (::BZ2_bzDecompressInit(&stream_, /*verbosity=*/0, /*small=*/0) != BZ_OK) throw IoError("no memory for libbz2");
  }
  bz_stream stream_{};
};

class Zstandard {
 public:
  static constexpr const char* kName = "zstd";
  // Frames with data, or such as pzstd writes before them, which readers pass over.
  static bool begins(std::string_view head) {
    return head.starts_with("\x28\xb5\x2f\xfd") ||
           (head.size() >= 4 && may_skip(head[0]) && head.substr(1).starts_with("\x2a\x4d\x18"));
  }
  static bool may_begin(char byte) { return byte == '\x28' || may_skip(byte); }
  Zstandard() : stream_(::ZSTD_createDStream()) {
    if (stream_ == nullptr) throw IoError("no memory for libzstd");
  }
  ~Zstandard() { ::ZSTD_freeDStream(stream_); }
  void begin() {}
  bool step(Buffers& b) {
    ZSTD_inBuffer in{b.in.data(), b.in.size(), 0};
    ZSTD_outBuffer out{b.out, b.room, 0};
    const std::size_t code = ::ZSTD_decompressStream(stream_, &out, &in);
    b.in.remove_prefix(in.pos);
    b.out += out.pos;
    b.room -= out.pos;
    if (::ZSTD_isError(code)) throw Damage{::ZSTD_getErrorName(code)};
    return code == 0;
  }

 private:
  static bool may_skip(char byte) { return byte >= '\x50' && byte <= '\x5f'; }
  ZSTD_DStream* stream_;
};

template <class Format>
class DecompressorOf final : public Decompressor {
 public:
  DecompressorOf(std::string name, std::string_view head, NextBytes more)
      : name_(std::move(name)), more_(std::move(more)), out_(kPiece, '\0') {
    buffers_.in = head;
  }
  DecompressorOf(const DecompressorOf&) = delete;
  DecompressorOf& operator=(const DecompressorOf&) = delete;

  std::string_view next(std::size_t least) override {
    buffers_.out = out_.data();
    buffers_.room = out_.size();
    while (out_.size() - buffers_.room < least && more_input()) {
      const std::size_t room = buffers_.room;
      try {
        inside_ = !format_.step(buffers_);
      } catch (const Damage& damage) {
        fail(damage.why);
      }
      // Without input there may still be output that had no room before.
      if (inside_ && starved_ && buffers_.room == room) fail("the file is cut off");
    }
    return {out_.data(), out_.size() - buffers_.room};
  }

 private:
  // False at the end of the last member.
  bool more_input() {
    if (buffers_.in.empty()) buffers_.in = more_();
    starved_ = buffers_.in.empty();
    if (inside_) return true;
    // Some programs fill the last block of a medium with zeros.
    while (!buffers_.in.empty() && buffers_.in.front() == '\0') {
      buffers_.in.remove_prefix(1);
      if (buffers_.in.empty()) buffers_.in = more_();
    }
    if (buffers_.in.empty()) return false;
    if (!Format::may_begin(buffers_.in.front())) fail("other bytes follow the compressed ones");
    format_.begin();
    inside_ = true;
    return true;
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw IoError(fmt::format("cannot read {}: {} data: {}. Expected a whole {} file; get it again", name_,
                              Format::kName, why, Format::kName));
  }

  const std::string name_;
  const NextBytes more_;
  std::string out_;
  Format format_;
  Buffers buffers_;
  bool inside_ = true, starved_ = false;
};

}  // namespace

std::optional<Compression> compression_of(std::string_view head) {
  if (Gzip::begins(head)) return Compression::gzip;
  if (Bzip2::begins(head)) return Compression::bzip2;
  if (Zstandard::begins(head)) return Compression::zstd;
  return std::nullopt;
}

std::unique_ptr<Decompressor> make_decompressor(Compression compression, std::string name, std::string_view head,
                                                NextBytes more) {
  switch (compression) {
    case Compression::gzip:
      return std::make_unique<DecompressorOf<Gzip>>(std::move(name), head, std::move(more));
    case Compression::bzip2:
      return std::make_unique<DecompressorOf<Bzip2>>(std::move(name), head, std::move(more));
    case Compression::zstd:
      return std::make_unique<DecompressorOf<Zstandard>>(std::move(name), head, std::move(more));
  }
  return nullptr;
}

}  // namespace ringtron
