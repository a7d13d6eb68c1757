// Joined corpora are byte for byte what one run over all documents writes; what cannot be joined is refused before
// anything is written.
#include "ringtron/tools/merge_datasets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "ringtron/base/error.h"
#include "ringtron/data/indexed_dataset.h"
#include "ringtron/data/indexed_dataset_writer.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;
using Document = std::vector<std::vector<std::int32_t>>;  // its sequences

class MergeDatasets : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("ringtron_merge_" + std::to_string(::getpid()));
    fs::create_directories(folder_ / "in");
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string in(const std::string& name) const { return (folder_ / "in" / name).string(); }
  std::string out() const { return (folder_ / "out/all").string(); }

  static void write(const std::string& prefix, const std::vector<Document>& documents,
                    TokenType type = TokenType::u16) {
    IndexedDatasetWriter writer(prefix, type);
    for (const Document& document : documents) {
      for (const auto& sequence : document) writer.add_sequence(sequence);
      writer.end_document();
    }
    writer.finish();
  }

  static std::string bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  MergeSummary merge(const std::vector<std::string>& inputs) const {
    return merge_datasets({inputs, out()}, [](const std::string&) {}, interrupted_);
  }

  std::string complaint(const std::vector<std::string>& inputs) const {
    try {
      merge(inputs);
    } catch (const ConfigError& e) {
      EXPECT_FALSE(fs::exists(folder_ / "out")) << "something was written";
      return e.what();
    }
    return "no complaint";
  }

  fs::path folder_;
  std::atomic<bool> interrupted_ = false;
};

// Documents with several sequences, none, and empty sequences.
const std::vector<Document> kFirst = {{{1, 2, 3}}, {}, {{4}, {5, 6}}};
const std::vector<Document> kSecond = {{}};
const std::vector<Document> kThird = {{{}, {7}}, {{8, 9, 10, 11}}};

TEST_F(MergeDatasets, EqualsOneRunOverAllDocuments) {
  write(in("a"), kFirst);
  write(in("b"), kSecond);
  write(in("c"), kThird);
  std::vector<Document> all = kFirst, swapped = kThird;
  all.insert(all.end(), kSecond.begin(), kSecond.end());
  all.insert(all.end(), kThird.begin(), kThird.end());
  write((folder_ / "once").string(), all);
  const std::string bin = bytes((folder_ / "once.bin").string()), idx = bytes((folder_ / "once.idx").string());

  const MergeSummary sums = merge({(folder_ / "in").string()});
  EXPECT_EQ(sums.corpora, 3);
  EXPECT_EQ(sums.documents, 6);
  EXPECT_EQ(sums.sequences, 6);
  EXPECT_EQ(sums.tokens, 11);
  EXPECT_EQ(bytes(out() + ".bin"), bin);
  EXPECT_EQ(bytes(out() + ".idx"), idx);
  merge({in("a"), in("b.idx"), in("c.bin")});
  EXPECT_EQ(bytes(out() + ".idx"), idx);
  // The comparison sees an order that is wrong.
  merge({in("c"), in("b"), in("a")});
  EXPECT_NE(bytes(out() + ".bin"), bin);
  EXPECT_NE(bytes(out() + ".idx"), idx);
}

TEST_F(MergeDatasets, ThousandsOfCorporaWithFewOpenFiles) {
  constexpr int kCorpora = 3000;
  // Copies: the writer waits for the disk.
  for (int i = 0; i < 10; ++i) write((folder_ / std::to_string(i)).string(), {{{i, i + 7}}, {{i}}});
  for (int i = 0; i < kCorpora; ++i) {
    for (const char* half : {".bin", ".idx"}) {
      fs::copy_file(folder_ / (std::to_string(i % 10) + half), in("p" + std::to_string(10000 + i)) + half);
    }
  }
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{64, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &few);
  const MergeSummary sums = merge({(folder_ / "in").string()});
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(sums.corpora, kCorpora);
  const IndexedDataset all(out());
  EXPECT_EQ(all.documents(), 2 * kCorpora);
  EXPECT_EQ(all.tokens(), 3 * kCorpora);
  std::int32_t token = 0;
  all.read(2 * 2999, 1, 1, &token);
  EXPECT_EQ(token, 9 + 7);
}

TEST_F(MergeDatasets, RefusedBeforeAnythingIsWritten) {
  write(in("a"), kFirst);
  write(in("b"), kSecond, TokenType::i32);
  EXPECT_THAT(complaint({(folder_ / "in").string()}),
              testing::AllOf(testing::HasSubstr("b holds int32, but"), testing::HasSubstr("a holds uint16")));
  EXPECT_THAT(complaint({in("a"), in("missing")}), testing::HasSubstr("missing.bin is missing"));
  fs::remove(in("b") + ".bin");
  EXPECT_THAT(complaint({(folder_ / "in").string()}), testing::HasSubstr("b.bin is missing"));
  EXPECT_THAT(complaint({in("a"), in("a.idx")}), testing::HasSubstr("comes twice"));
  fs::remove(in("b") + ".idx");
  fs::resize_file(in("a") + ".bin", 3);
  EXPECT_THAT(complaint({in("a")}), testing::HasSubstr("do not belong together"));
  fs::create_directory(folder_ / "empty");
  EXPECT_THAT(complaint({(folder_ / "empty").string()}), testing::HasSubstr("preprocess_data --input"));
}

TEST_F(MergeDatasets, OutputThatIsAnInput) {
  write(in("a"), kFirst);
  write(in("b"), kSecond);
  const std::string before = bytes(in("a") + ".idx");
  EXPECT_THROW(merge_datasets({{(folder_ / "in").string()}, in("a")}, {}, interrupted_), ConfigError);
  EXPECT_EQ(bytes(in("a") + ".idx"), before);
}

TEST_F(MergeDatasets, Interrupted) {
  write(in("a"), kFirst);
  interrupted_ = true;
  EXPECT_THROW(merge({in("a")}), IoError);
  EXPECT_FALSE(fs::exists(out() + ".bin"));
}

}  // namespace
}  // namespace ringtron
