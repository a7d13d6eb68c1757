#include "ringtron/tools/document_source.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/tokenizer/pre_tokenizer.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DocumentSourceTest : public ::testing::Test {
 protected:
  ReadContext context() {
    return {interrupted_, [this](const std::string& line) { told_.push_back(line); }};
  }

  // "line: text" of each line, the text alone of each text file.
  std::vector<std::string> read(const std::vector<std::string>& inputs, bool pieces = false) {
    told_.clear();
    const ReadContext context = this->context();
    DocumentSource source(find_input_files(inputs, context.notice), {.pieces = pieces}, context);
    std::vector<std::string> documents;
    RawDocument document;
    while (source.next(document)) {
      documents.push_back(document.line > 0 ? fmt::format("{}: {}", document.line, document.text) : document.text);
    }
    return documents;
  }
  std::vector<std::string> read(const std::string& name) {
    return read(std::vector<std::string>{(folder_ / name).string()});
  }

  void write(const std::string& name, std::string_view content) { write_file_atomically(folder_ / name, content); }

  std::string error(const std::string& name) {
    try {
      read(name);
    } catch (const ConfigError& e) {
      return e.what();
    } catch (const IoError& e) {
      return std::string("IoError ") + e.what();
    }
    return "none";
  }

  testing::TempDir folder_;
  std::atomic<bool> interrupted_ = false;
  std::vector<std::string> told_;
};

TEST_F(DocumentSourceTest, LinesEndAsPythonsDo) {
  write("a.jsonl", "\xef\xbb\xbf{1}\r\n{2}\r\r{3}\n\n  \n{4}");
  EXPECT_THAT(read("a.jsonl"), ElementsAre("1: {1}", "2: {2}", "4: {3}", "7: {4}"));
  // A line end that lies across two pieces of the file.
  const std::string filler((1 << 20) - 1, 'x');
  write("b.jsonl", filler + "\r\n{2}\r" + filler + "\r");
  EXPECT_THAT(read("b.jsonl"), ElementsAre("1: " + filler, "2: {2}", "3: " + filler));
  write("empty.jsonl", "");
  EXPECT_THAT(read("empty.jsonl"), IsEmpty());
}

TEST_F(DocumentSourceTest, KindFollowsNameAndContent) {
  write("a.json", "{\"text\":\"x\"}\n");
  write("a.dat", " {\t\"text\":\"x\"}");
  write("a.txt", "{\"text\":\"x\"}");
  write("notes", "one\ntwo\n");
  write("empty.txt", "");
  EXPECT_THAT(read("a.json"), ElementsAre("1: {\"text\":\"x\"}"));
  EXPECT_THAT(read("a.dat"), ElementsAre("1:  {\t\"text\":\"x\"}"));
  EXPECT_THAT(read("a.txt"), ElementsAre("{\"text\":\"x\"}"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("looks like JSON")));
  EXPECT_THAT(read("notes"), ElementsAre("one\ntwo\n"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("one document of plain text")));
  EXPECT_THAT(read("empty.txt"), ElementsAre(""));
}

TEST_F(DocumentSourceTest, WhatIsNoTextIsRefusedIfNamedAndLeftOutOfFolders) {
  const std::vector<std::pair<const char*, std::string>> files = {{"pretty.json", "{\n \"text\": 1\n}"},
                                                                  {"list.json", "[{\"text\":\"x\"}]"},
                                                                  {"utf16.txt", "\xff\xfex"},
                                                                  {"utf32.txt", std::string("\xff\xfe\0\0x\0\0\0", 8)},
                                                                  {"picture", std::string("a\0b", 3)}};
  for (const auto& [name, content] : files) {
    write(name, content);
    EXPECT_THAT(error(name), HasSubstr("expected")) << name;
  }
  EXPECT_THAT(error("utf32.txt"), HasSubstr("iconv -f UTF-32 "));
  write("good.txt", "good");
  EXPECT_THAT(read({folder_.path().string()}), ElementsAre("good"));
  EXPECT_EQ(told_.size(), files.size());
  write("utf32be.txt", std::string("\0\0\xfe\xff\0\0\0x", 8));
  EXPECT_THAT(error("utf32be.txt"), HasSubstr("iconv -f UTF-32 "));
}

TEST_F(DocumentSourceTest, OtherCompressionsAreRefusedBeforeAnythingIsRead) {
  write("a.jsonl", "{}");
  write("b.jsonl.xz", std::string_view("\xfd"
                                       "7zXZ\0",
                                       6));
  write("c.zip", "PK\x03\x04");
  EXPECT_THAT(error("b.jsonl.xz"), HasSubstr("xz -dc " + (folder_ / "b.jsonl.xz").string() + " |"));
  EXPECT_THAT(error("c.zip"), HasSubstr("zip data"));
  EXPECT_THAT(error("."), HasSubstr("b.jsonl.xz"));
  std::filesystem::remove(folder_ / "b.jsonl.xz");
  EXPECT_THAT(read("."), ElementsAre("1: {}"));
  write("d.parquet", "PAR1....");
  EXPECT_THAT(error("d.parquet"), HasSubstr("Parquet, which is not read here"));
  std::filesystem::remove(folder_ / "d.parquet");
  EXPECT_THAT(read("."), ElementsAre("1: {}"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("c.zip is left out")));
}

TEST_F(DocumentSourceTest, FoldersLeaveOutWhatIsNoFileWithALine) {
  std::filesystem::create_directories(folder_ / "sub" / "deeper");
  write("b.txt", "b");
  write("sub/deeper/a.txt", "a");
  write("sub/.hidden", "hidden");
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  std::filesystem::create_directory_symlink(folder_.path(), folder_ / "sub" / "loop");
  std::filesystem::create_symlink("nothing", folder_ / "broken");
  std::filesystem::create_symlink(folder_ / "b.txt", folder_ / "again.txt");
  EXPECT_THAT(read("."), ElementsAre("b", "a"));
  std::sort(told_.begin(), told_.end());
  EXPECT_THAT(told_,
              ElementsAre(HasSubstr("broken is left out: it is a link to nothing"), HasSubstr("pipe is left out"),
                          HasSubstr("loop is left out: it is a link to a folder")));
}

TEST_F(DocumentSourceTest, InputsKeepTheirOrderAndComeOnce) {
  write("a.txt", "a");
  write("b.txt", "b");
  write("x,y.txt", "xy");
  const std::string a = (folder_ / "a.txt").string(), b = (folder_ / "b.txt").string();
  EXPECT_THAT(read({b + "," + a, (folder_ / "?.txt").string()}), ElementsAre("b", "a"));
  EXPECT_THAT(read({(folder_ / "x,y.txt").string()}), ElementsAre("xy"));
  EXPECT_THAT(error("none*"), HasSubstr("no such file"));
  std::filesystem::create_directory(folder_ / "hollow");
  EXPECT_THAT(error("hollow"), HasSubstr("has no files"));
}

TEST_F(DocumentSourceTest, DevicesAreRefused) {
  for (const char* device : {"/dev/zero", "/dev/urandom", "/dev/full"}) {
    EXPECT_THROW(read(std::vector<std::string>{device}), ConfigError) << device;
  }
}

TEST_F(DocumentSourceTest, APipeIsReadAsItComes) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  std::thread writer([&] {
    std::ofstream out(folder_ / "pipe");
    out << "{\"text\":\"1\"}\n" << std::flush << "{\"text\":\"2\"}";
  });
  EXPECT_THAT(read("pipe"), ElementsAre("1: {\"text\":\"1\"}", "2: {\"text\":\"2\"}"));
  writer.join();
}

TEST_F(DocumentSourceTest, WaitingForAPipeCanBeInterrupted) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  interrupted_ = true;
  EXPECT_THAT(error("pipe"), HasSubstr("IoError interrupted"));
}

TEST_F(DocumentSourceTest, PiecesOfALongTextCutNoWord) {
  const auto words_of = [](const std::vector<std::string>& pieces) {
    std::vector<std::string> words;
    for (const std::string& piece : pieces)
      for_each_word(piece, [&](std::string_view word) { words.emplace_back(word); });
    return words;
  };
  std::string lines, blanks;
  while (lines.size() < std::size_t{9} << 20) lines += "a line.\n\n  Another \none's\nmore 1\n 2\n";
  while (blanks.size() < std::size_t{9} << 20) blanks += "it's all  on , one line 12 ";
  for (const std::string& text : {lines, blanks}) {
    write("a.txt", text);
    const auto pieces = read({(folder_ / "a.txt").string()}, true);
    EXPECT_GT(pieces.size(), 1u);
    std::string joined;
    for (const std::string& piece : pieces) joined += piece;
    EXPECT_TRUE(joined == text);
    EXPECT_TRUE(words_of(pieces) == words_of({text}));
  }
}

}  // namespace
}  // namespace ringtron
