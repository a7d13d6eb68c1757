#include "ringtron/tokenizer/training_text.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/tokenizer/pre_split.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

std::vector<std::string> documents(const std::filesystem::path& file,
                                   std::vector<std::string> keys = {"text"}) {
  std::vector<std::string> found;
  for_each_document(file, keys, [&](std::string_view text) { found.emplace_back(text); });
  return found;
}

TEST(TrainingText, FilesFoldersAndPatterns) {
  const testing::TempDir folder;
  std::filesystem::create_directories(folder / "sub");
  for (const char* name : {"b.txt", "a.txt", "sub/c.txt", ".hidden"})
    write_file_atomically(folder / name, "x");
  EXPECT_EQ(find_text_files(std::vector<std::string>{folder.path(), folder / "a.txt"}),
            (std::vector<std::filesystem::path>{folder / "a.txt", folder / "b.txt", folder / "sub/c.txt"}));
  EXPECT_EQ(find_text_files(std::vector<std::string>{folder / "*.txt"}).size(), 2u);
  EXPECT_THROW(find_text_files(std::vector<std::string>{folder / "*.none"}), ConfigError);
}

TEST(TrainingText, PlainTextIsOneDocument) {
  const testing::TempDir folder;
  write_file_atomically(folder / "a.txt", "one\ntwo\n");
  EXPECT_EQ(documents(folder / "a.txt"), std::vector<std::string>{"one\ntwo\n"});
}

TEST(TrainingText, PiecesOfALargeFileCutNoWord) {
  const testing::TempDir folder;
  std::string text;
  while (text.size() < std::size_t{9} << 20) text += "a line.\n\n  Another \none\nmore\n";
  write_file_atomically(folder / "a.txt", text);
  const auto lengths = [](std::string_view part, std::vector<std::size_t>& found) {
    for_each_word(part, [&](std::string_view word) { found.push_back(word.size()); });
  };
  std::vector<std::size_t> expected, got;
  lengths(text, expected);
  const auto pieces = documents(folder / "a.txt");
  for (const std::string& piece : pieces) lengths(piece, got);
  EXPECT_GT(pieces.size(), 1u);
  EXPECT_TRUE(got == expected);
}

TEST(TrainingText, JsonLines) {
  const testing::TempDir folder;
  const auto file = folder / "a.jsonl";
  write_file_atomically(file, "{\"text\": \"one\\n\", \"t\": \"x\"}\n\n{\"text\": \"two\", \"t\": \"y\"}");
  EXPECT_EQ(documents(file), (std::vector<std::string>{"one\n", "two"}));
  EXPECT_EQ(documents(file, {"text", "t"}), (std::vector<std::string>{"one\n", "x", "two", "y"}));
  EXPECT_THROW(documents(file, {"none"}), ConfigError);
  write_file_atomically(file, "{\"text\": \"one\"}\nnot json\n");
  EXPECT_THROW(documents(file), ConfigError);
}

}  // namespace
}  // namespace ringtron
