// docs/flags.md is what the tables say.
#include <gmock/gmock.h>

#include "ringtron/base/file.h"
#include "ringtron/config/help.h"

namespace ringtron {
namespace {

TEST(FlagsDocument, EqualsTheGeneratedText) {
  EXPECT_EQ(read_file(RINGTRON_SOURCE_DIR "/docs/flags.md"), flags_markdown())
      << "write it anew: pretrain_gpt --help=markdown > docs/flags.md";
}

// The program prints a line: the text and one newline.
TEST(FlagsDocument, IsWhatTheProgramPrints) { EXPECT_EQ(help_text("markdown", 80) + "\n", flags_markdown()); }

TEST(FlagsDocument, NamesRefusedFlags) {
  EXPECT_THAT(flags_markdown(), testing::HasSubstr("| `--num-distributed-optimizer-instances` |"));
}

}  // namespace
}  // namespace ringtron
