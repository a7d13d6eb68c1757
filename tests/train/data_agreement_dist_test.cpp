// A rank that has other data than the others is named before anything is trained.
#include <gmock/gmock.h>

#include "ringtron/base/file.h"
#include "ringtron/base/hash.h"
#include "ringtron/data/indexed_dataset.h"
#include "ringtron/train/agreement.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A corpus of this rank's own, as on hosts that share no disk.
struct OwnCorpus {
  TempDir dir;
  std::string prefix = (dir / "corpus").string();
  OwnCorpus() { write_toy_corpus(prefix); }

  void change(const char* half, std::size_t at) const {
    std::string bytes = read_file(prefix + half);
    bytes[at] ^= 1;
    write_file_atomically(prefix + half, bytes);
  }
  std::map<std::string, std::string> described() const {
    return {{prefix, fmt::format("tokens {}", hex64(IndexedDataset(prefix).content_hash(1 << 20)))}};
  }
};

std::string message_of(RankContext& ranks, const std::map<std::string, std::string>& data) {
  try {
    require_same_data(ranks.world(), data);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

DIST_TEST(DataAgreement, EqualCorporaInOtherFoldersAgree, 1, 2, 4) {
  const OwnCorpus corpus;
  EXPECT_EQ(message_of(ranks, corpus.described()), "");
}

// One token, anywhere, of any rank.
DIST_TEST(DataAgreement, ARankWithAnotherTokenIsNamed, 2, 4) {
  const std::size_t size = read_file(OwnCorpus().prefix + ".bin").size();
  for (const std::size_t at : {std::size_t{0}, size / 2, size - 2}) {
    const OwnCorpus corpus;
    const int guilty = ranks.size() - 1;
    if (ranks.rank() == guilty) corpus.change(".bin", at);
    const std::string path = gather_texts(ranks.world(), corpus.prefix)[static_cast<std::size_t>(guilty)];
    EXPECT_THAT(message_of(ranks, corpus.described()),
                AllOf(HasSubstr(fmt::format("rank {} on ", guilty)), HasSubstr(path), HasSubstr("tokens")));
  }
}

// Where most agree, the odd one is named, also if it is rank 0.
DIST_TEST(DataAgreement, RankZeroMayBeTheOddOne, 4) {
  const OwnCorpus corpus;
  if (ranks.rank() == 0) corpus.change(".bin", 40);
  const std::string message = message_of(ranks, corpus.described());
  EXPECT_THAT(message, HasSubstr("\n  rank 0 on "));
  EXPECT_EQ(message.find("\n  rank 1 on"), std::string::npos);
}

DIST_TEST(DataAgreement, AnotherOrderOrAMissingCorpusIsNamed, 2) {
  std::map<std::string, std::string> data = {{"a", "index 1, tokens 2, train order 3"}, {"b", "index 4"}};
  if (ranks.rank() == 1) data["a"] += "4";
  EXPECT_THAT(message_of(ranks, data), HasSubstr("train order 34"));
  if (ranks.rank() == 1) data = {{"a", "index 1, tokens 2, train order 3"}};
  EXPECT_THAT(message_of(ranks, data), HasSubstr("rank 1 on"));
}

}  // namespace
}  // namespace ringtron::testing
