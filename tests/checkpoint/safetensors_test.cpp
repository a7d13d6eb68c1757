#include "ringtron/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes) {
  std::vector<std::byte> file(header.size() + data_bytes);
  std::memcpy(file.data(), header.data(), header.size());
  return file;
}

std::string with_length(std::string json) {
  std::string length(8, '\0');
  length[0] = static_cast<char>(json.size());
  return length + json;
}

TEST(Safetensors, HeaderBytes) {
  const SafetensorsEntry entries[] = {{"a", DType::f32, {2, 3}, 0, 24}, {"b", DType::bf16, {}, 24, 26}};
  const std::string expected_json =
      R"({"__metadata__":{"format":"pt"},"a":{"data_offsets":[0,24],"dtype":"F32","shape":[2,3]},)"
      R"("b":{"data_offsets":[24,26],"dtype":"BF16","shape":[]}})";
  const std::string header = safetensors_header(entries);
  ASSERT_EQ(header.size() % 8, 0u);
  EXPECT_EQ(header.substr(0, 8), std::string("\x90\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(header.substr(8, expected_json.size()), expected_json);
  EXPECT_EQ(header.find_first_not_of(' ', 8 + expected_json.size()), std::string::npos);
  EXPECT_EQ(header.size(), 8u + 0x90u);
}

TEST(Safetensors, ParsesWhatItWrites) {
  const SafetensorsEntry entries[] = {{"a", DType::i64, {2}, 0, 16}, {"empty", DType::f32, {0, 4}, 16, 16}};
  const auto file = file_of(safetensors_header(entries), 16);
  const SafetensorsLayout layout = parse_safetensors(file, "x");
  EXPECT_EQ(layout.data_begin, file.size() - 16);
  EXPECT_EQ(layout.entries.at("a").shape, (Shape{2}));
  EXPECT_EQ(layout.entries.at("empty").begin, 16u);
}

TEST(Safetensors, RefusesWhatDoesNotFitAndNamesTheFile) {
  const std::string bad[] = {
      "",
      "short",
      with_length("[]"),
      with_length("{"),
      with_length(R"({"a":{"dtype":"F99","shape":[],"data_offsets":[0,4]}})"),
      with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})"),
      with_length(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})"),
      with_length(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"),
      with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"),   // more than the data
      with_length(R"({"a":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]}})"),  // a gap before it
      with_length(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                  R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]}})"),  // one within the other
      std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)};
  for (const std::string& header : bad) {
    try {
      parse_safetensors(file_of(header, header.size() < 8 ? 0 : 4), "folder/shard_7");
      ADD_FAILURE() << "accepted " << header;
    } catch (const IoError& e) {
      EXPECT_NE(std::string(e.what()).find("folder/shard_7"), std::string::npos) << e.what();
    }
  }
}

TEST(Safetensors, DTypeNamesAreTheirOwnInverse) {
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i16,
                            DType::i8, DType::u8, DType::boolean}) {
    EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  }
  EXPECT_FALSE(dtype_named("F8"));
}

}  // namespace
}  // namespace ringtron
