#include "ringtron/tools/preprocess.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <zlib.h>

#include <filesystem>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/data/indexed_dataset.h"
#include "ringtron/tools/sentence_splitter.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::atomic<bool> kGoOn = false;

// NullTokenizer: text is a row of ids, which makes outputs easy to name.
PreprocessOptions options(const testing::TempDir& dir, const std::filesystem::path& input) {
  PreprocessOptions o;
  o.inputs = {input.string()};
  o.output_prefix = (dir / "out" / "data").string();
  o.tokenizer = {.type = TokenizerType::null, .vocab_file = {}, .merge_file = {}, .vocab_size = 1000};
  return o;
}

struct Told {
  std::vector<std::string> bad, notices;
  PreprocessReport report() {
    return {[](const std::string&) {}, [this](const std::string& line) { bad.push_back(line); },
            [this](const std::string& line) { notices.push_back(line); }};
  }
};

PreprocessSummary run(const PreprocessOptions& o) {
  Told told;
  return preprocess(o, told.report(), kGoOn);
}

std::vector<std::vector<std::int32_t>> sequences(const std::string& prefix) {
  const IndexedDataset dataset(prefix);
  std::vector<std::vector<std::int32_t>> all;
  for (std::int64_t s = 0; s < dataset.sequences(); ++s) {
    all.emplace_back(static_cast<std::size_t>(dataset.sequence_length(s)));
    dataset.read(s, 0, dataset.sequence_length(s), all.back().data());
  }
  return all;
}

std::string many_lines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (int k = 0; k <= i % 200; ++k) text += fmt::format("{} ", (i + k) % 900);
    lines += fmt::format("{{\"text\": \"{}\", \"title\": \"{}\"}}\n", text, i % 900);
  }
  return lines;
}

void write_gz(const std::filesystem::path& path, const std::string& text) {
  gzFile file = ::gzopen(path.c_str(), "wb");
  ::gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  ::gzclose(file);
}

bool is_empty_or_missing(const std::filesystem::path& folder) {
  return !std::filesystem::exists(folder) || std::filesystem::is_empty(folder);
}

TEST(Preprocess, SeveralKeysEodAndEmptyDocuments) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl",
                        "{\"a\": \"1 2\", \"b\": \"3\"}\n\n{\"a\": \"\", \"b\": \"4 5\"}\n{\"a\":\"\",\"b\":\"\"}");
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  o.encoder.json_keys = {"a", "b"};
  o.encoder.append_eod = true;
  const PreprocessSummary summary = run(o);
  const std::int32_t eod = make_tokenizer(o.tokenizer)->eod();
  EXPECT_THAT(summary.prefixes, ElementsAre(o.output_prefix + "_a_document", o.output_prefix + "_b_document"));
  EXPECT_THAT(sequences(summary.prefixes[0]), ElementsAre(ElementsAre(1, 2, eod)));
  EXPECT_THAT(sequences(summary.prefixes[1]), ElementsAre(ElementsAre(3, eod), ElementsAre(4, 5, eod)));
  // An empty text is a document too, as in Megatron's files: both keys hold the same documents.
  for (const std::string& prefix : summary.prefixes) EXPECT_EQ(IndexedDataset(prefix).documents(), 3);
  EXPECT_EQ(summary.documents, 3);
  EXPECT_EQ(summary.empty, 1);
  EXPECT_THAT(summary.tokens, ElementsAre(3, 5));
}

TEST(Preprocess, NumberOfWorkersAndCompressionDoNotMatter) {
  testing::TempDir dir;
  const std::string lines = many_lines(8000);  // several batches
  write_file_atomically(dir / "in.jsonl", lines);
  write_gz(dir / "in.jsonl.gz", lines);
  PreprocessOptions one = options(dir, dir / "in.jsonl"), four = options(dir, dir / "in.jsonl.gz");
  four.workers = 4;
  four.output_prefix = (dir / "out" / "four").string();
  const auto a = run(one), b = run(four);
  EXPECT_GT(a.bytes, 2 << 20);
  for (const char* half : {".bin", ".idx"}) {
    EXPECT_EQ(read_file(a.prefixes[0] + half), read_file(b.prefixes[0] + half));
  }
}

TEST(Preprocess, FolderOfTextPatternsAndCommas) {
  testing::TempDir dir;
  std::filesystem::create_directories(dir / "t" / "below");
  write_file_atomically(dir / "t" / "a.md", "1 2");
  write_file_atomically(dir / "t" / "below" / "b.txt", "3\n4");
  write_file_atomically(dir / "t" / "binary", std::string("5\0 6", 4));
  write_file_atomically(dir / "x1.jsonl", "{\"text\": \"7\"}");
  write_file_atomically(dir / "x2.jsonl", "{\"text\": \"8\"}");
  const auto folder = run(options(dir, dir / "t"));
  EXPECT_THAT(sequences(folder.prefixes[0]), ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4)));
  EXPECT_EQ(folder.passed_over, 1);
  const auto pattern = run(options(dir, dir / "x*.jsonl"));
  EXPECT_THAT(sequences(pattern.prefixes[0]), ElementsAre(ElementsAre(7), ElementsAre(8)));
  const auto list = run(options(dir, (dir / "x2.jsonl").string() + "," + (dir / "x1.jsonl").string()));
  EXPECT_THAT(sequences(list.prefixes[0]), ElementsAre(ElementsAre(8), ElementsAre(7)));
  EXPECT_THROW(run(options(dir, dir / "nothing*")), ConfigError);
}

TEST(Preprocess, BadLinesAreCountedAndNamed) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl",
                        "{\"text\": \"1\"}\nnot json\n{\"other\": \"2\"}\n{\"text\": 3}\n[4]\n{\"text\": \"5\"}\n");
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  Told told;
  const auto summary = preprocess(o, told.report(), kGoOn);
  EXPECT_EQ(summary.bad, 4);
  EXPECT_EQ(summary.documents, 2);
  EXPECT_THAT(told.bad, ElementsAre(HasSubstr("in.jsonl:2: expected a JSON object"), HasSubstr("in.jsonl:3: "),
                                    HasSubstr("in.jsonl:4: "), HasSubstr("in.jsonl:5: ")));
  EXPECT_THAT(sequences(summary.prefixes[0]), ElementsAre(ElementsAre(1), ElementsAre(5)));
}

TEST(Preprocess, StrictAndInterruptedLeaveNothing) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl", "{\"text\": \"1\"}\nnot json\n");
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  o.strict = true;
  EXPECT_THROW(run(o), IoError);
  EXPECT_TRUE(is_empty_or_missing(dir / "out"));
  o.strict = false;
  const std::atomic<bool> interrupted = true;
  EXPECT_THROW(preprocess(o, Told().report(), interrupted), IoError);
  EXPECT_TRUE(is_empty_or_missing(dir / "out"));
}

TEST(Preprocess, DamagedGzipAndTextThatCannotBeEncodedLeaveNothing) {
  testing::TempDir dir;
  write_gz(dir / "in.jsonl.gz", many_lines(3000));
  std::string bytes = read_file(dir / "in.jsonl.gz");
  write_file_atomically(dir / "cut.jsonl.gz", bytes.substr(0, bytes.size() / 2));
  EXPECT_THROW(run(options(dir, dir / "cut.jsonl.gz")), IoError);
  write_file_atomically(dir / "words.jsonl", "{\"text\": \"1\"}\n{\"text\": \"words\"}\n");
  try {
    run(options(dir, dir / "words.jsonl"));
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("words.jsonl:2: "));
  }
  EXPECT_TRUE(is_empty_or_missing(dir / "out"));
}

TEST(Preprocess, SentencesAreSequencesOfOneDocument) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl", "{\"text\": \"1 2\\n\\n3\"}\n{\"text\": \"4\"}\n");
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  o.encoder.split_sentences = o.encoder.append_eod = true;
  const auto summary = run(o);
  EXPECT_THAT(summary.prefixes[0], ::testing::EndsWith("_text_sentence"));
  const std::int32_t eod = make_tokenizer(o.tokenizer)->eod();
  EXPECT_THAT(sequences(summary.prefixes[0]), ElementsAre(ElementsAre(1, 2), ElementsAre(3, eod), ElementsAre(4, eod)));
  EXPECT_EQ(IndexedDataset(summary.prefixes[0]).documents(), 2);
}

TEST(Preprocess, AListOfSentencesIsOneDocument) {
  testing::TempDir dir;
  write_file_atomically(
      dir / "in.jsonl",
      "{\"text\": [\"1 2\\n\\n7\", \"\", \"3\", \"6\"]}\n{\"text\": [\"8\\n\\n9\"]}\n{\"text\": []}\n{\"text\": [4]}\n");
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  o.encoder.append_eod = true;
  const std::int32_t eod = make_tokenizer(o.tokenizer)->eod();
  for (const bool split : {false, true}) {
    o.encoder.split_sentences = split;
    Told told;
    const auto summary = preprocess(o, told.report(), kGoOn);
    EXPECT_THAT(told.notices, ElementsAre(HasSubstr("3 documents hold 4 sequences")));
    EXPECT_THAT(sequences(summary.prefixes[0]),
                ElementsAre(ElementsAre(1, 2, 7), ElementsAre(3), ElementsAre(6, eod), ElementsAre(8, 9, eod)));
    EXPECT_EQ(IndexedDataset(summary.prefixes[0]).documents(), 3);
    EXPECT_EQ(summary.empty, 1);
    EXPECT_EQ(summary.bad, 1);
  }
}

TEST(Preprocess, ALongTextIsOneSequence) {
  testing::TempDir dir;
  std::string text;
  std::int64_t count = 0;
  for (; text.size() < std::size_t{9} << 20; ++count) text += fmt::format("{}\n", count % 900);
  write_file_atomically(dir / "in.txt", text);
  PreprocessOptions o = options(dir, dir / "in.txt");
  o.encoder.append_eod = true;
  o.workers = 3;
  const auto summary = run(o);
  const IndexedDataset dataset(summary.prefixes[0]);
  EXPECT_EQ(summary.documents, 1);
  ASSERT_EQ(dataset.sequences(), 1);
  ASSERT_EQ(dataset.sequence_length(0), count + 1);
  const auto tokens = sequences(summary.prefixes[0])[0];
  for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(tokens[i], i % 900) << i;
}

TEST(Preprocess, WhatMayNotBeMeantIsTold) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl", "{\"text\": \"1 999\"}\n");
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  o.encoder.keep_newlines = true;
  o.tokenizer.vocab_file = "vocab.json";
  Told told;
  preprocess(o, told.report(), kGoOn);
  EXPECT_THAT(told.notices, ElementsAre(HasSubstr("without --append-eod"), HasSubstr("--keep-newlines"),
                                        HasSubstr("--vocab-file"), HasSubstr("stands inside 1 documents")));
}

TEST(Preprocess, AKeyWithoutAnyTextIsTold) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl", "{\"a\": \"1\", \"b\": \"\"}\n{\"a\": \"\\ud800\"}\n");
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  o.encoder.json_keys = {"a", "b"};
  o.encoder.append_eod = true;
  Told told;
  const auto summary = preprocess(o, told.report(), kGoOn);
  EXPECT_THAT(summary.tokens, ElementsAre(2, 0));
  EXPECT_THAT(told.notices, ElementsAre(HasSubstr("data_b_document: no document has text")));
  EXPECT_THAT(told.bad, ElementsAre(HasSubstr("\"b\", which is missing")));
}

TEST(Preprocess, OutputsThatCannotBeMadeAreRefusedBeforeReading) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl", "{\"text\": \"words that the tokenizer refuses\"}\n");
  const auto error = [&](const std::filesystem::path& prefix) -> std::string {
    PreprocessOptions o = options(dir, dir / "in.jsonl");
    o.output_prefix = prefix.string();
    try {
      run(o);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "none";
  };
  EXPECT_THAT(error("/proc/none/out"), HasSubstr("--output-prefix"));
  EXPECT_THAT(error(dir / "in.jsonl" / "out"), HasSubstr("--output-prefix"));
  EXPECT_THAT(error(""), HasSubstr("--output-prefix"));
  std::filesystem::create_directory(dir / "a_text_document.idx");
  EXPECT_THAT(error(dir / "a"), HasSubstr("it is a folder"));
  // The input under the name of an output.
  std::filesystem::create_symlink("in.jsonl", dir / "b_text_document.bin");
  EXPECT_THAT(error(dir / "b"), HasSubstr("would be overwritten"));
}

TEST(Preprocess, NoTextAndBadOptionsAreErrors) {
  testing::TempDir dir;
  write_file_atomically(dir / "in.jsonl", "{\"text\": \"\"}\n");
  EXPECT_THROW(run(options(dir, dir / "in.jsonl")), ConfigError);
  PreprocessOptions o = options(dir, dir / "in.jsonl");
  o.encoder.json_keys = {"a", "a"};
  EXPECT_THROW(run(o), ConfigError);
  o = options(dir, dir / "in.jsonl");
  o.workers = 0;
  EXPECT_THROW(run(o), ConfigError);
}

TEST(SentenceSplitter, Rules) {
  EXPECT_THAT(split_sentences("Dr. A. Smith came. He said \"Go!\" Then e.g. rain?  Yes", false),
              ElementsAre("Dr. A. Smith came.", "He said \"Go!\"", "Then e.g. rain?", "Yes"));
  EXPECT_THAT(split_sentences("It is 3.5 m. no. 7 is\n\nnew", false), ElementsAre("It is 3.5 m. no. 7 is", "new"));
  EXPECT_THAT(split_sentences("\u597d\u3002\u597d\u3002", false), ElementsAre("\u597d\u3002", "\u597d\u3002"));
  EXPECT_THAT(split_sentences("  \n ", false), ElementsAre());
  const std::string text = " One.\nTwo!  \n\n three ";
  std::string joined;
  for (const auto piece : split_sentences(text, true)) joined += piece;
  EXPECT_EQ(joined, text);
}

}  // namespace
}  // namespace ringtron
