#include "ringtron/data/indexed_dataset.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "tests/data/made_up_corpus.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;

std::string hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

// What opening `prefix` says; empty if it opens.
std::string message_of(const std::string& prefix) {
  try {
    IndexedDataset dataset(prefix);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

class IndexedDatasetFaults : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_made_up_corpus(prefix_, 5, 4); }
  // Changes the bytes of one half and returns what opening says then.
  std::string after(const char* extension, const std::function<void(std::string&)>& change) {
    std::string bytes = read_file(prefix_ + extension);
    change(bytes);
    write_file_atomically(prefix_ + extension, bytes);
    return message_of(prefix_);
  }
  testing::TempDir dir_;
  std::string prefix_ = (dir_ / "corpus").string();
};

TEST(IndexedDataset, BytesAreThoseOfTheMegatronCoreWheel) {
  testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  testing::write_made_up_corpus(prefix, 5, 4);
  std::ifstream file(std::string(RINGTRON_SOURCE_DIR) + "/tests/golden/gpt_dataset.json");
  const auto golden = nlohmann::json::parse(file).at("corpus_5_4");
  EXPECT_EQ(hex(read_file(prefix + ".bin")), golden.at("bin").get<std::string>());
  EXPECT_EQ(hex(read_file(prefix + ".idx")), golden.at("idx").get<std::string>());
}

TEST(IndexedDataset, AllTypesComeBack) {
  for (const TokenType type :
       {TokenType::u8, TokenType::i8, TokenType::i16, TokenType::u16, TokenType::i32, TokenType::i64}) {
    testing::TempDir dir;
    const std::string prefix = (dir / "corpus").string();
    IndexedDatasetWriter writer(prefix, type);
    writer.add_sequence(std::vector<std::int32_t>{1, 2, 127});
    writer.add_sequence(std::vector<std::int32_t>{});
    writer.end_document();
    writer.end_document();  // a document without sequences
    writer.add_sequence(std::vector<std::int32_t>{3});
    writer.end_document();
    writer.finish();
    const IndexedDataset dataset(prefix);
    EXPECT_EQ(dataset.token_type(), type);
    EXPECT_EQ(dataset.sequences(), 3);
    EXPECT_EQ(dataset.documents(), 3);
    EXPECT_EQ(dataset.tokens(), 4);
    std::vector<std::int32_t> tokens(2);
    dataset.read(0, 1, 2, tokens.data());
    EXPECT_EQ(tokens, (std::vector<std::int32_t>{2, 127}));
    EXPECT_EQ(dataset.document_of(1), 0);
    EXPECT_EQ(dataset.document_of(2), 2);
    EXPECT_EQ(dataset.place(2, 0).token, 3);
    EXPECT_FALSE(dataset.find_token_outside(128));
    EXPECT_EQ(dataset.find_token_outside(127)->position, 2);
  }
}

TEST(IndexedDataset, WriterRefusesWhatTheTypeCannotHold) {
  testing::TempDir dir;
  IndexedDatasetWriter writer((dir / "corpus").string(), TokenType::u16);
  EXPECT_THROW(writer.add_sequence(std::vector<std::int32_t>{65536}), ConfigError);
}

TEST(IndexedDataset, ASequenceMayComeInParts) {
  testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  IndexedDatasetWriter writer(prefix, TokenType::u16);
  writer.add_part(std::vector<std::int32_t>{1, 2});
  writer.add_part(std::vector<std::int32_t>{3});
  writer.end_sequence();
  writer.end_document();
  writer.finish();
  const IndexedDataset dataset(prefix);
  EXPECT_EQ(dataset.sequences(), 1);
  EXPECT_EQ(dataset.sequence_length(0), 3);
}

TEST(IndexedDataset, OneWriterOfAPrefixAtATime) {
  testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  IndexedDatasetWriter writer(prefix, TokenType::u16);
  EXPECT_THROW(IndexedDatasetWriter(prefix, TokenType::u16), ConfigError);
}

TEST(IndexedDataset, UnfinishedWriterLeavesNothing) {
  testing::TempDir dir;
  {
    IndexedDatasetWriter writer((dir / "corpus").string(), TokenType::u16);
    writer.add_sequence(std::vector<std::int32_t>{1});
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST_F(IndexedDatasetFaults, MissingHalvesAreNamed) {
  EXPECT_THAT(message_of(prefix_ + ".bin"), HasSubstr("without its .bin or .idx"));
  std::filesystem::remove(prefix_ + ".bin");
  EXPECT_THAT(message_of(prefix_), HasSubstr("corpus.bin, but it does not exist"));
}

TEST_F(IndexedDatasetFaults, Foreign) {
  EXPECT_THAT(after(".idx", [](std::string& b) { b[0] = 'X'; }), HasSubstr("bad header, cannot read"));
  EXPECT_THAT(after(".idx", [](std::string& b) { b.clear(); }), HasSubstr("bad header, cannot read"));
}

TEST_F(IndexedDatasetFaults, OtherVersion) {
  EXPECT_THAT(after(".idx", [](std::string& b) { b[9] = 2; }), HasSubstr("Expected version 1, got 2"));
}

TEST_F(IndexedDatasetFaults, FloatsAreNotTokens) {
  EXPECT_THAT(after(".idx", [](std::string& b) { b[17] = 7; }), HasSubstr("float32"));
}

TEST_F(IndexedDatasetFaults, TruncatedAnywhere) {
  const std::string index = read_file(prefix_ + ".idx"), data = read_file(prefix_ + ".bin");
  for (std::size_t length = 0; length < index.size(); ++length) {
    EXPECT_NE(after(".idx", [&](std::string& b) { b = index.substr(0, length); }), "") << length;
  }
  write_file_atomically(prefix_ + ".idx", index);
  EXPECT_EQ(message_of(prefix_), "");
  EXPECT_THAT(after(".bin", [&](std::string& b) { b.resize(data.size() - 1); }), HasSubstr("The .bin is cut off"));
  EXPECT_THAT(after(".bin", [&](std::string& b) { b = data + "x"; }), HasSubstr("do not belong together"));
}

TEST_F(IndexedDatasetFaults, EveryDamagedIndexByteIsFound) {
  const std::string index = read_file(prefix_ + ".idx");
  for (std::size_t at = 0; at < index.size(); ++at) {
    if (at == 17 || at >= 34 + 12 * 5) continue;  // another type of the same size, other document boundaries
    EXPECT_NE(after(".idx", [&](std::string& b) { (b = index)[at] ^= 0x40; }), "") << at;
  }
}

TEST_F(IndexedDatasetFaults, WhatIsNoFileIsNamedWithoutWaiting) {
  const std::string half = prefix_ + ".bin";
  std::filesystem::remove(half);
  ASSERT_EQ(::mkfifo(half.c_str(), 0600), 0);
  EXPECT_THAT(message_of(prefix_), HasSubstr("it is a named pipe"));
  std::filesystem::remove(half);
  std::filesystem::create_directory(half);
  EXPECT_THAT(message_of(prefix_), HasSubstr("it is a folder"));
  std::filesystem::remove(half);
  std::filesystem::create_symlink("/dev/zero", half);
  EXPECT_THAT(message_of(prefix_), HasSubstr("it is a device"));
  EXPECT_THAT(message_of(dir_.path().string()), HasSubstr("is that of a folder"));
  EXPECT_THAT(message_of(prefix_ + ".bin"), HasSubstr("without its .bin"));
  EXPECT_THAT(message_of(prefix_ + "/" + std::string(300, 'x')), HasSubstr("data:"));
}

TEST(IndexedDataset, WideTokensAreNamedAsTheyAre) {
  const testing::TempDir dir;
  const std::string prefix = (dir / "wide").string();
  {
    IndexedDatasetWriter writer(prefix, TokenType::i64);
    writer.add_sequence(std::vector<std::int32_t>{1, 2, 3});
    writer.end_document();
    writer.finish();
  }
  std::string bytes = read_file(prefix + ".bin");
  const std::int64_t large = std::int64_t{1} << 40, negative = -(std::int64_t{1} << 50);
  for (const std::int64_t value : {large, negative}) {
    std::memcpy(&bytes[8], &value, 8);
    write_file_atomically(prefix + ".bin", bytes);
    const IndexedDataset corpus(prefix);
    EXPECT_EQ(corpus.place(0, 1).token, value);
    ASSERT_TRUE(corpus.find_token_outside(100));
    EXPECT_EQ(corpus.find_token_outside(100)->token, value);
  }
}

TEST(IndexedDataset, ContentHashSeesEveryTokenOfASmallCorpusAndPiecesOfALargeOne) {
  const testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  testing::write_made_up_corpus(prefix, 3000, 200);
  const std::string good = read_file(prefix + ".bin");
  const auto hash_with = [&](std::size_t at, std::size_t most) {
    std::string bytes = good;
    if (at < bytes.size()) bytes[at] ^= 1;
    write_file_atomically(prefix + ".bin", bytes);
    return IndexedDataset(prefix).content_hash(most);
  };
  const std::size_t all = 1 << 30, none = good.size();
  ASSERT_GT(good.size(), std::size_t{4 * 65536});
  for (const std::size_t at : {std::size_t{0}, good.size() / 3, good.size() - 1}) {
    EXPECT_NE(hash_with(at, all), hash_with(none, all)) << at;
  }
  for (const std::size_t at : {std::size_t{0}, good.size() / 2, good.size() - 1}) {
    EXPECT_NE(hash_with(at, 3 * 65536), hash_with(none, 3 * 65536)) << at;
  }
  EXPECT_EQ(hash_with(100000, 2 * 65536), hash_with(none, 2 * 65536)) << "between the pieces";
  EXPECT_NE(hash_with(none, all), hash_with(none, 2 * 65536));
}

}  // namespace
}  // namespace ringtron
