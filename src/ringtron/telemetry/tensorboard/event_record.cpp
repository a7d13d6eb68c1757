// Protocol buffers by hand: a field is a varint of (number * 8 + wire type), then its value. Only what an
// event needs.
#include "ringtron/telemetry/tensorboard/event_record.h"

#include <bit>

#include "ringtron/telemetry/tensorboard/crc32c.h"
#include "ringtron/telemetry/tensorboard/event_fields.h"

namespace ringtron {
namespace {

void append_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>((value & 0x7f) | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void append_key(std::string& out, int field, WireType type) {
  append_varint(out, static_cast<std::uint64_t>(field) * 8 + static_cast<std::uint64_t>(type));
}

std::string varint_field(int field, std::int64_t value) {
  std::string out;
  append_key(out, field, kVarint);
  append_varint(out, static_cast<std::uint64_t>(value));
  return out;
}

std::string double_field(int field, double value) {
  std::string out;
  append_key(out, field, kFixed64);
  append_little_endian(out, std::bit_cast<std::uint64_t>(value), 8);
  return out;
}

std::string float_field(int field, float value) {
  std::string out;
  append_key(out, field, kFixed32);
  append_little_endian(out, std::bit_cast<std::uint32_t>(value), 4);
  return out;
}

// A string or a message inside a message.
std::string bytes_field(int field, std::string_view value) {
  std::string out;
  append_key(out, field, kBytes);
  append_varint(out, value.size());
  out.append(value);
  return out;
}

std::string framed(const std::string& event) {
  std::string length;
  append_little_endian(length, event.size(), 8);
  std::string record = length;
  append_little_endian(record, masked_crc32c(length), 4);
  record += event;
  append_little_endian(record, masked_crc32c(event), 4);
  return record;
}

std::string summary_record(EventTime time, const std::string& value) {
  return framed(double_field(kEventWallTime, time.wall_time) + varint_field(kEventStep, time.step) +
                bytes_field(kEventSummary, bytes_field(kSummaryValue, value)));
}

}  // namespace

std::string version_record(double wall_time) {
  return framed(double_field(kEventWallTime, wall_time) + bytes_field(kEventFileVersion, "brain.Event:2"));
}

std::string session_start_record(EventTime time) {
  return framed(double_field(kEventWallTime, time.wall_time) + varint_field(kEventStep, time.step) +
                bytes_field(kEventSessionLog, varint_field(kSessionStatus, kSessionStart)));
}

std::string scalar_record(EventTime time, std::string_view tag, float value) {
  return summary_record(time, bytes_field(kValueTag, tag) + float_field(kValueSimple, value));
}

std::string text_record(EventTime time, std::string_view tag, std::string_view text) {
  const std::string shape = bytes_field(kShapeDim, varint_field(kDimSize, 1));
  const std::string tensor =
      varint_field(kTensorDType, kTypeString) + bytes_field(kTensorShape, shape) + bytes_field(kTensorStrings, text);
  const std::string metadata = bytes_field(kMetadataPluginData, bytes_field(kPluginName, "text"));
  return summary_record(
      time, bytes_field(kValueTag, tag) + bytes_field(kValueTensor, tensor) + bytes_field(kValueMetadata, metadata));
}

}  // namespace ringtron
