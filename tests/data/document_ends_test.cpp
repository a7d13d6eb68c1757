#include "ringtron/data/document_ends.h"

#include <gtest/gtest.h>

#include <vector>

#include "ringtron/data/indexed_dataset_writer.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using Documents = std::vector<std::vector<std::int32_t>>;

bool found(const Documents& documents) {
  const testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  IndexedDatasetWriter writer(prefix, TokenType::u16);
  for (const auto& document : documents) {
    writer.add_sequence(document);
    writer.end_document();
  }
  writer.finish();
  return has_token_at_an_end(IndexedDataset(prefix), 9);
}

TEST(DocumentEnds, AreFoundAtTheEndsOrInside) {
  EXPECT_TRUE(found({{1, 2, 9}, {3, 9}}));
  EXPECT_TRUE(found({{1, 2}, {3, 9}}));
  EXPECT_TRUE(found({{1, 9, 2}, {3, 4}}));  // several documents joined in one
  EXPECT_TRUE(found({{}, {9}}));
}

TEST(DocumentEnds, AreNotFoundWhereThereAreNone) {
  EXPECT_FALSE(found({{1, 2, 8}, {3, 7}}));
  EXPECT_FALSE(found({{}, {}}));
  EXPECT_FALSE(found({}));
  EXPECT_FALSE(found(Documents(10000, {1, 2, 3})));
}

// Far behind what is looked at token by token.
TEST(DocumentEnds, AreFoundInTheRestByTheEndsAlone) {
  Documents documents(600, std::vector<std::int32_t>(2000, 1));
  for (std::size_t d = 550; d < 600; ++d) documents[d].back() = 9;
  EXPECT_TRUE(found(documents));
}

}  // namespace
}  // namespace ringtron
