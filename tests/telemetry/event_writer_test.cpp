#include "ringtron/telemetry/tensorboard/event_writer.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/telemetry/tensorboard/crc32c.h"
#include "ringtron/telemetry/tensorboard/event_record.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out.push_back(static_cast<char>(value));
  return out;
}

// Takes one record off the front of `file` and checks its frame; returns the event's bytes.
std::string take_record(std::string& file) {
  const auto number = [&](std::size_t at, int size) {
    std::uint64_t value = 0;
    for (int i = size - 1; i >= 0; --i)
      value = value << 8 | static_cast<unsigned char>(file.at(at + static_cast<std::size_t>(i)));
    return value;
  };
  const std::uint64_t length = number(0, 8);
  const std::string event = file.substr(12, length);
  EXPECT_EQ(number(8, 4), masked_crc32c(file.substr(0, 8)));
  EXPECT_EQ(number(12 + length, 4), masked_crc32c(event));
  file.erase(0, 16 + length);
  return event;
}

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(EventRecord, BytesOfAScalar) {
  std::string record = scalar_record({1.0, 300}, "lm loss", 2.5f);
  ASSERT_EQ(record.substr(0, 8), bytes({30, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(take_record(record), bytes({0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}) +  // wall_time 1.0
                                     bytes({0x10, 0xac, 0x02}) +                // step 300
                                     bytes({0x2a, 16, 0x0a, 14}) +              // summary { value {
                                     bytes({0x0a, 7}) + "lm loss" + bytes({0x15, 0, 0, 0x20, 0x40}));
  EXPECT_EQ(record, "");
}

TEST(EventRecord, BytesOfTheVersion) {
  std::string record = version_record(0);
  EXPECT_EQ(take_record(record), bytes({0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 13}) + "brain.Event:2");
}

TEST(EventRecord, BytesOfAText) {
  std::string record = text_record({0, 0}, "a", "hi");
  const std::string tensor = bytes({0x08, 7, 0x12, 4, 0x12, 2, 0x08, 1, 0x42, 2}) + "hi";
  const std::string metadata = bytes({0x0a, 6, 0x0a, 4}) + "text";
  const std::string value = bytes({0x0a, 1}) + "a" + bytes({0x42, 12}) + tensor + bytes({0x4a, 8}) + metadata;
  EXPECT_EQ(take_record(record),
            bytes({0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0}) +
                bytes({0x2a, static_cast<int>(value.size()) + 2, 0x0a, static_cast<int>(value.size())}) + value);
}

TEST(EventRecord, BytesOfASessionStart) {
  std::string record = session_start_record({0, 7});
  EXPECT_EQ(take_record(record), bytes({0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 7, 0x3a, 2, 0x08, 1}));
}

TEST(EventWriter, WritesAtFlushAndAtTheEnd) {
  testing::TempDir dir;
  std::filesystem::path path;
  {
    EventWriter writer(dir / "runs/a");
    path = writer.path();
    EXPECT_EQ(path.filename().string().find("events.out.tfevents."), 0u);
    writer.add_scalar("lm loss", 3, 1);
    writer.flush();
    std::string so_far = read_file(path);
    EXPECT_NE(take_record(so_far).find("brain.Event:2"), std::string::npos);
    take_record(so_far);  // the session's start
    EXPECT_NE(take_record(so_far).find("lm loss"), std::string::npos);
    EXPECT_EQ(so_far, "");
    writer.add_text("arguments", "--seed 1", 0);
  }
  std::string all = read_file(path);
  for (int i = 0; i < 3; ++i) take_record(all);
  EXPECT_NE(take_record(all).find("--seed 1"), std::string::npos);
  EXPECT_EQ(all, "");
}

TEST(EventWriter, TwoInOneFolderHaveTheirOwnFiles) {
  testing::TempDir dir;
  const EventWriter first(dir.path()), second(dir.path());
  EXPECT_NE(first.path(), second.path());
}

}  // namespace
}  // namespace ringtron
