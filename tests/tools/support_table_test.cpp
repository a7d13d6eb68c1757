// docs/support.md is what the table says, and what it points to exists.
#include "ringtron/tools/check/support_table.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <regex>

#include "ringtron/base/file.h"

namespace ringtron {
namespace {

constexpr int kRowsOfTheParityTable = 56;

std::string page() { return read_file(RINGTRON_SOURCE_DIR "/docs/support.md"); }

// Whether "tests/x_test.cpp" exists and, with " Suite.Name" behind it, holds that test.
bool is_proof(std::string_view proof) {
  const std::string text(proof);
  const std::size_t blank = text.find(' ');
  const std::filesystem::path file = std::filesystem::path(RINGTRON_SOURCE_DIR) / text.substr(0, blank);
  if (!std::filesystem::is_regular_file(file)) return false;
  const std::string content = read_file(file);
  if (blank == std::string::npos) return content.find("TEST") != std::string::npos;
  const std::size_t dot = text.find('.', blank);
  if (dot == std::string::npos) return false;
  const std::string suite = text.substr(blank + 1, dot - blank - 1), name = text.substr(dot + 1);
  return std::regex_search(content, std::regex("TEST(_F|_P)?\\(" + suite + ",\\s*" + name + "[,)]"));
}

TEST(SupportTable, ThePageIsTheTable) {
  EXPECT_EQ(page(), support_table_markdown() + "\n")
      << "write it anew: check_cp_config --support-table > docs/support.md";
}

TEST(SupportTable, HasEveryRowOnce) {
  const auto rows = support_table();
  ASSERT_EQ(std::ssize(rows), kRowsOfTheParityTable);
  for (int i = 0; i < kRowsOfTheParityTable; ++i) EXPECT_EQ(rows[static_cast<std::size_t>(i)].number, i + 1);
}

TEST(SupportTable, EveryRowSaysWhyAndEveryYesHasATest) {
  for (const SupportRow& row : support_table()) {
    SCOPED_TRACE(row.number);
    EXPECT_THAT(std::string(row.why), ::testing::EndsWith("."));
    EXPECT_EQ(std::string(row.feature).find('|') + std::string(row.why).find('|'), 2 * std::string::npos);
    const bool supported = row.support == Support::yes || row.support == Support::better;
    EXPECT_TRUE(!supported || !row.proof.empty());
    EXPECT_TRUE(row.proof.empty() || is_proof(row.proof)) << row.proof;
  }
}

TEST(SupportTable, AProofThatIsNotThereIsSeen) {  // negative control
  EXPECT_TRUE(is_proof("tests/tools/support_table_test.cpp SupportTable.ThePageIsTheTable"));
  EXPECT_FALSE(is_proof("tests/tools/support_table_test.cpp SupportTable.ThePage"));
  EXPECT_FALSE(is_proof("tests/tools/no_such_test.cpp"));
}

}  // namespace
}  // namespace ringtron
