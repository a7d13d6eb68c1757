// Which lines of a rank's stderr count as its reason to end.
#include "ringtron/launch/stderr_tail.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace ringtron {
namespace {

std::string words(std::initializer_list<std::string_view> lines) {
  StderrTail out;
  for (const std::string_view line : lines) out.add_line(line);
  return out.text();
}

constexpr const char* kWarning =
    "[W1129 22:41:07.123456789 socket.cpp:767] [c10d] The hostname of the client socket cannot be retrieved. err=-3";

TEST(StderrTail, TheLastMessageWithAllItsLines) {
  EXPECT_EQ(words({"x: one", "x: 2 faults:", "  1. this", "    and that", ""}),
            "x: 2 faults:\n  1. this\n    and that");
  EXPECT_EQ(words({"  indented alone"}), "  indented alone");
  EXPECT_EQ(words({}), "");
}

TEST(StderrTail, ChatterIsNoReason) {
  EXPECT_EQ(words({kWarning}), "");
  EXPECT_EQ(words({"[rank3]:[E1129 22:41:07.1 ProcessGroupGloo.cpp:1] x", "WARNING: slow disk",
                   "frame #7: main + 0x1 (0x2 in x)"}),
            "");
  EXPECT_EQ(words({"x: disk full", kWarning, "", "WARNING: y"}), "x: disk full");
  EXPECT_EQ(words({"x: two:", kWarning, "  1. this"}), "x: two:\n  1. this");
}

TEST(StderrTail, AfterALostPeerOnlyAnErrorCounts) {
  EXPECT_EQ(words({"x: communication failed: rank 2 died", "shutting down"}), "x: communication failed: rank 2 died");
  EXPECT_EQ(words({"x: communication failed: rank 2 died", "y: disk full"}), "y: disk full");
}

TEST(StderrTail, LongMessagesAreBounded) {
  StderrTail out;
  out.add_line("x: many");
  for (int i = 0; i < 1000; ++i) out.add_line("  " + std::string(100'000, 'y'));
  EXPECT_LE(out.text().size(), StderrTail::kMostLines * (StderrTail::kLongestLine + 1));
}

TEST(StderrTail, Statements) {
  EXPECT_TRUE(is_statement("pretrain_gpt: disk full"));
  EXPECT_TRUE(is_statement("ValueError: disk full"));
  EXPECT_FALSE(is_statement("the disk: full"));
  EXPECT_FALSE(is_statement("done"));
  EXPECT_FALSE(is_statement(""));
}

}  // namespace
}  // namespace ringtron
