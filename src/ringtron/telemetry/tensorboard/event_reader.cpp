#include "ringtron/telemetry/tensorboard/event_reader.h"

#include <bit>
#include <fstream>
#include <string>

#include "ringtron/telemetry/tensorboard/crc32c.h"
#include "ringtron/telemetry/tensorboard/event_fields.h"

namespace ringtron {
namespace {

constexpr std::uint64_t kLargestEvent = 1u << 26;  // no scalar or text of ours comes near

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// Takes a message apart, field by field.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  // False at the end, and at what is no field.
  bool next() {
    std::uint64_t key = 0;
    if (rest_.empty() || !take_varint(key)) return false;
    number = static_cast<int>(key >> 3);
    type = static_cast<WireType>(key & 7);
    switch (type) {
      case kVarint:
        return take_varint(value);
      case kFixed64:
        return take_fixed(8);
      case kFixed32:
        return take_fixed(4);
      case kBytes: {
        std::uint64_t size = 0;
        return take_varint(size) && take(size, bytes);
      }
    }
    return false;
  }
  bool is(int field, WireType wire) const { return number == field && type == wire; }

  int number = 0;
  WireType type = kVarint;
  std::uint64_t value = 0;  // of numbers
  std::string_view bytes;   // of strings and messages

 private:
  bool take(std::uint64_t size, std::string_view& out) {
    if (size > rest_.size()) return false;
    out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool take_fixed(std::size_t size) {
    std::string_view raw;
    if (!take(size, raw)) return false;
    value = little_endian(raw);
    return true;
  }
  bool take_varint(std::uint64_t& out) {
    out = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::string_view rest_;
};

void read_value(std::string_view message, ReadEvent& event) {
  for (Fields f(message); f.next();) {
    if (f.is(kValueTag, kBytes)) event.tag = f.bytes;
    if (f.is(kValueSimple, kFixed32)) event.scalar = std::bit_cast<float>(static_cast<std::uint32_t>(f.value));
  }
}

ReadEvent read_event(std::string_view message) {
  ReadEvent event;
  for (Fields f(message); f.next();) {
    if (f.is(kEventWallTime, kFixed64)) event.wall_time = std::bit_cast<double>(f.value);
    if (f.is(kEventStep, kVarint)) event.step = static_cast<std::int64_t>(f.value);
    if (f.is(kEventFileVersion, kBytes)) event.file_version = f.bytes;
    if (f.is(kEventSummary, kBytes)) {
      for (Fields value(f.bytes); value.next();) {
        if (value.is(kSummaryValue, kBytes)) read_value(value.bytes, event);
      }
    }
    if (f.is(kEventSessionLog, kBytes)) {
      for (Fields log(f.bytes); log.next();) {
        if (log.is(kSessionStatus, kVarint)) event.session_start = log.value == kSessionStart;
      }
    }
  }
  return event;
}

}  // namespace

bool read_events(const std::filesystem::path& path, const std::function<void(const ReadEvent&)>& use) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  std::string head(12, '\0'), event;
  while (file.read(head.data(), 12)) {
    const std::string_view length_bytes = std::string_view(head).substr(0, 8);
    const std::uint64_t length = little_endian(length_bytes);
    if (little_endian(std::string_view(head).substr(8)) != masked_crc32c(length_bytes) || length > kLargestEvent) break;
    event.resize(length + 4);
    if (!file.read(event.data(), static_cast<std::streamsize>(event.size()))) break;
    const std::string_view message = std::string_view(event).substr(0, length);
    if (little_endian(std::string_view(event).substr(length)) != masked_crc32c(message)) break;
    use(read_event(message));
  }
  return true;
}

}  // namespace ringtron
