// The bytes of one input, piece by piece: a file, a pipe or standard input; gzip is taken off.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace ringtron {

// What reading needs of the program around it.
struct ReadContext {
  // Ends all reading and waiting soon after it becomes true.
  const std::atomic<bool>& interrupted;
  // Takes a line for the user, on the reading thread; never empty.
  std::function<void(const std::string&)> notice;
};

// Holds about 2 MiB. Not thread-safe.
class ByteSource {
 public:
  // `path` "-": standard input. A pipe is opened at once, whether anybody writes to it or not. Throws IoError.
  ByteSource(const std::string& path, const ReadContext& context);
  ~ByteSource();

  // At most 1 MiB, valid until the next call; empty at the end. The first piece has 8 KiB, or all there is. Waits for a
  // pipe; a line says so after two seconds without a byte. Throws IoError for a disk that fails, gzip data that is cut
  // off, damaged or followed by something else, and when interrupted; ConfigError for a compression that is not read
  // here, with the command that takes it off.
  std::string_view next();

 private:
  class Raw;
  class Gunzip;
  std::unique_ptr<Raw> raw_;
  std::unique_ptr<Gunzip> gunzip_;  // for gzip data only
  bool first_ = true;
};

// Why a file cannot be read that begins with `head`: a compression other than gzip, with the command that takes it off;
// empty if it can.
std::string refused_compression(const std::string& path, std::string_view head);

}  // namespace ringtron
