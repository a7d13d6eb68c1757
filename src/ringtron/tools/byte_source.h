// The bytes of one input, piece by piece: a file, a pipe or standard input; gzip, bzip2 and zstd are taken off.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ringtron/tools/decompressor.h"

namespace ringtron {

// What reading needs of the program around it.
struct ReadContext {
  // Ends all reading and waiting soon after it becomes true.
  const std::atomic<bool>& interrupted;
  // Takes a line for the user, on the reading thread; never empty.
  std::function<void(const std::string&)> notice;
  // Counts the bytes that were read of files, compressed as they are; null: nobody asks.
  std::atomic<std::int64_t>* consumed = nullptr;
};

// Holds about 2 MiB, and what a decompressor holds. Not thread-safe.
class ByteSource {
 public:
  // `path` "-": standard input. A pipe is opened at once, whether anybody writes to it or not. Throws IoError.
  ByteSource(const std::string& path, const ReadContext& context);
  ~ByteSource();

  // At most 1 MiB, valid until the next call; empty at the end. The first piece has 8 KiB, or all there is. Waits for a
  // pipe; a line says so after two seconds without a byte. Throws IoError for a disk that fails, as Decompressor does,
  // and when interrupted; ConfigError for a format that is not read here, with the command that converts it.
  std::string_view next();

 private:
  class Raw;
  std::unique_ptr<Raw> raw_;
  std::unique_ptr<Decompressor> decompressor_;  // of compressed data
  bool first_ = true;
};

// Why a file cannot be read that begins with `head`: a compression or format that is not read here, with the command
// that converts it; empty if it can.
std::string refused_format(const std::string& path, std::string_view head);

}  // namespace ringtron
