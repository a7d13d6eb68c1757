#include "ringtron/tools/decompressor.h"

#include <bzlib.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <zlib.h>
#include <zstd.h>

#include "ringtron/base/error.h"
#include "ringtron/base/random.h"
#include "ringtron/tools/input_progress.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;

constexpr Compression kAll[] = {Compression::gzip, Compression::bzip2, Compression::zstd};
constexpr std::string_view kNames[] = {"gzip", "bzip2", "zstd"};

std::string_view name_of(Compression compression) { return kNames[static_cast<int>(compression)]; }

// One member.
std::string compressed(Compression compression, const std::string& text) {
  std::string out(text.size() + text.size() / 50 + 1000, '\0');
  if (compression == Compression::gzip) {
    z_stream stream{};
    ::deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    ::deflateEnd(&stream);
  } else if (compression == Compression::bzip2) {
    auto size = static_cast<unsigned>(out.size());
    EXPECT_EQ(::BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(text.data()),
                                         static_cast<unsigned>(text.size()), 9, 0, 0),
              BZ_OK);
    out.resize(size);
  } else {
    out.resize(::ZSTD_compressBound(text.size()));
    out.resize(::ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  }
  return out;
}

// What comes out of `bytes`, which come `piece` at a time; or the error.
std::string plain(const std::string& bytes, std::size_t piece) {
  std::size_t at = 0;
  std::string held;  // what was given is overwritten by the next piece
  const auto more = [&]() -> std::string_view {
    held = bytes.substr(at, piece);
    at += held.size();
    return held;
  };
  try {
    const std::string_view head = more();
    const auto compression = compression_of(bytes);
    if (!compression) return "not compressed";
    const auto decompressor = make_decompressor(*compression, "FILE", head, more);
    std::string out;
    for (std::string_view part = decompressor->next(1); !part.empty(); part = decompressor->next(1)) out += part;
    return out;
  } catch (const IoError& e) {
    return e.what();
  }
}

// Text that shrinks little, and text that shrinks to almost nothing: then much output is left when the input has ended.
std::vector<std::string> texts() {
  std::string noise;
  for (std::uint64_t i = 0; i < 1'000'000; ++i) noise += static_cast<char>(random_word(5, 0, i));
  return {"", "a", "some text\n", noise, std::string(8'000'000, 'x')};
}

TEST(Decompressor, GivesBackWhatWasCompressed) {
  for (const Compression compression : kAll) {
    for (const std::string& text : texts()) {
      const std::string bytes = compressed(compression, text);
      for (const std::size_t piece : {std::size_t{4096}, std::size_t{1} << 20}) {
        EXPECT_TRUE(plain(bytes, piece) == text) << name_of(compression) << " " << text.size();
      }
      if (text.size() > 100) continue;
      EXPECT_EQ(plain(bytes, 1), text) << name_of(compression);
      EXPECT_EQ(plain(bytes + compressed(compression, "more") + bytes, 3), text + "more" + text)
          << name_of(compression);
      EXPECT_EQ(plain(bytes + std::string(1000, '\0'), 7), text) << name_of(compression);
    }
  }
}

TEST(Decompressor, SaysWhatIsWrong) {
  for (const Compression compression : kAll) {
    const std::string text = texts()[3].substr(0, 100'000), bytes = compressed(compression, text);
    const std::string name(name_of(compression));
    for (const std::size_t length : {bytes.size() - 1, bytes.size() / 2, std::size_t{4}}) {
      EXPECT_THAT(plain(bytes.substr(0, length), 1000),
                  HasSubstr(fmt::format("FILE: {} data: the file is cut off", name)));
    }
    EXPECT_THAT(plain(bytes + "!", 1000), HasSubstr("other bytes follow the compressed ones"));
    std::string damaged = bytes;
    for (std::size_t i = 0; i < 64; ++i)
      damaged[damaged.size() / 2 + i] = static_cast<char>(~damaged[damaged.size() / 2 + i]);
    if (compression != Compression::zstd) {  // it may have no checksum
      EXPECT_THAT(plain(damaged, 1000), HasSubstr(fmt::format("{} data: ", name)));
    }
    EXPECT_TRUE(plain(damaged, 1000) != text);
  }
  EXPECT_EQ(plain("BZhello", 100), "not compressed");
  EXPECT_EQ(plain("(text)", 100), "not compressed");
}

TEST(Decompressor, FramesToBeSkippedArePassedOver) {
  const std::string skipped = std::string("\x50\x2a\x4d\x18\x04\0\0\0", 8) + "abcd";
  const std::string frame = compressed(Compression::zstd, "text");
  EXPECT_EQ(plain(skipped + frame + skipped + frame, 5), "texttext");
}

TEST(Decompressor, DamagedBytesEndInAnErrorOrInText) {
  for (const Compression compression : kAll) {
    const std::string bytes = compressed(compression, texts()[3].substr(0, 2000) + std::string(5000, 'y'));
    for (std::uint64_t trial = 0; trial < 500; ++trial) {
      std::string damaged = bytes;
      for (int change = 0; change < 3; ++change) {
        const std::uint64_t at = 4 + random_word(trial, 1, static_cast<std::uint64_t>(change)) % (bytes.size() - 4);
        damaged[at] = static_cast<char>(random_word(trial, 2, static_cast<std::uint64_t>(change)));
      }
      EXPECT_LT(plain(damaged, 100).size(), std::size_t{1} << 30);
    }
  }
}

TEST(InputProgress, TimeLeftIsThatOfTheRest) {
  EXPECT_EQ(progress_text(25, 100, 30.0), ", 25% of the input, 0:01:30 left");
  EXPECT_EQ(progress_text(100, 100, 30.0), ", 100% of the input, 0:00:00 left");
  EXPECT_EQ(progress_text(1, 1000, 10.0), ", 0% of the input, 2:46:30 left");
  EXPECT_EQ(progress_text(0, 100, 30.0), "");
  EXPECT_EQ(progress_text(10, std::nullopt, 30.0), "");
  const InputFile standard_input[] = {{"-", false}};
  EXPECT_EQ(total_bytes(standard_input), std::nullopt);
}

}  // namespace
}  // namespace ringtron
