// Internal to comm: messages between a rank and the server as bytes. A frame is its length (4 bytes), its kind (1) and
// a body.
//
// Numbers are in this machine's order: processes of one run are one binary.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/comm/rendezvous/claim.h"

namespace ringtron::wire {

inline constexpr std::string_view kMagic = "ringtron hub 1\n";
inline constexpr std::size_t kNonce = 16;
inline constexpr std::size_t kLargestHello = 4096;
inline constexpr std::size_t kLargestReason = 2000;
inline constexpr std::size_t kLargestFrame = std::size_t{1} << 24;

enum class Kind : std::uint8_t {
  challenge,  // server, when a connection opens: magic, nonce
  hello,      // rank: magic, nonce, claim, proof
  welcome,    // server: proof. From here on both sides know each other
  refused,    // server: why
  roster,     // server, when all ranks have come: the claim of each
  ended,      // server, before all have come: why the run does not start
  loss,       // server: rank, failed, place
  closing,    // server: rank 0 leaves and has finished
  request,    // rank, to the store
  reply,      // server
  give_up,    // rank: its time to wait for all is over; milliseconds
  finished,   // rank: it leaves
  failed,     // rank: it leaves because of an error
  cannot,     // rank, instead of hello: as hello, and why it ends before it has joined
  heard,      // server, as the answer to that: what another rank has said that ends for this reason; empty if none has
};

// Bytes that no peer of ours sends.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Packer {
 public:
  template <class Number>
  Packer& number(Number value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Packer& text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes_.append(value);
    return *this;
  }
  Packer& texts(const std::vector<std::string>& values);
  Packer& claim(const Claim& claim);
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Throws Malformed where the bytes end too early.
class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : bytes_(bytes) {}
  template <class Number>
  Number number() {
    Number value;
    const std::string_view from = next(sizeof(value));
    std::memcpy(&value, from.data(), sizeof(value));
    return value;
  }
  std::string text() { return std::string(next(number<std::uint32_t>())); }
  std::vector<std::string> texts();
  Claim claim();
  void end() const {
    if (!bytes_.empty()) throw Malformed("bytes behind the end");
  }

 private:
  std::string_view next(std::size_t count) {
    if (count > bytes_.size()) throw Malformed("ends too early");
    const std::string_view part = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return part;
  }
  std::string_view bytes_;
};

std::string frame(Kind kind, std::string_view body = {});

struct Frame {
  Kind kind;
  std::string body;
};

// Cuts a stream into frames. Never holds more than one frame of `limit` bytes and what came with it.
class FrameReader {
 public:
  explicit FrameReader(std::size_t limit) : limit_(limit) {}
  void set_limit(std::size_t limit) { limit_ = limit; }
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  // The next whole frame, if it is there. Throws Malformed as soon as a length is seen that is none or above the limit.
  std::optional<Frame> next();

 private:
  std::size_t limit_;
  std::string buffer_;
};

// What only who knows the run's token can say, as the answer to the other side's nonce.
std::string rank_proof(std::string_view token, std::string_view server_nonce, std::string_view rank_nonce,
                       const Claim& claim);
std::string server_proof(std::string_view token, std::string_view server_nonce, std::string_view rank_nonce);

}  // namespace ringtron::wire
