// Takes gzip, bzip2 or Zstandard off a stream of bytes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace ringtron {

enum class Compression { gzip, bzip2, zstd };

// What data that begin so are compressed with; nothing for any other.
std::optional<Compression> compression_of(std::string_view head);

// The next piece of the compressed bytes, valid until the next call; empty at the end.
using NextBytes = std::function<std::string_view()>;

// Member after member, as the formats' own programs read them; zeros behind the last one count as nothing. Holds 1 MiB
// and what the format wants: at most 128 MiB for Zstandard. Not thread-safe.
class Decompressor {
 public:
  virtual ~Decompressor() = default;
  // Up to 1 MiB, at least `least` bytes or all that is left; valid until the next call, empty at the end. Throws
  // IoError, naming `name`, for data that are damaged, cut off or followed by something else.
  virtual std::string_view next(std::size_t least) = 0;
};

// `head`: the bytes read already, valid until the first call of `more`.
std::unique_ptr<Decompressor> make_decompressor(Compression compression, std::string name, std::string_view head,
                                                NextBytes more);

}  // namespace ringtron
