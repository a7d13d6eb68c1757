// Help fits the terminal and tells every option.
#include "ringtron/config/help.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Help, FitsTheWidth) {
  for (const int columns : {60, 80, 100}) {
    for (const std::string& line : split(help_text("", columns), '\n')) {
      EXPECT_LE(static_cast<int>(line.size()), columns) << line;
    }
  }
}

TEST(Help, TellsEveryOption) {
  const std::string text = help_text("", 100);
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) EXPECT_THAT(text, HasSubstr("  " + std::string(option.name)));
  }
}

TEST(Help, OfOneGroup) {
  const std::string text = help_text("parallel", 100);
  EXPECT_THAT(text, HasSubstr("  --cp-comm-type {p2p,all_gather,allgather,a2a,a2a+p2p,auto} ..."));
  EXPECT_THAT(text, HasSubstr("[10.0 minutes]"));
  EXPECT_THAT(text, Not(HasSubstr("--hidden-size")));
  EXPECT_THROW(help_text("paralel", 100), ConfigError);
}

}  // namespace
}  // namespace ringtron
