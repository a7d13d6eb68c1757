// What of Megatron-LM's and TransformerEngine's context parallelism Ringtron does: docs/support.md as data.
//
// A test compares the page with support_table_markdown() and looks up every proof.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ringtron {

enum class Support { yes, better, not_yet, no };

struct SupportRow {
  int number = 0;
  std::string_view feature;
  std::string_view original;  // what Megatron-LM or TransformerEngine does
  Support support = Support::no;
  std::string_view why;  // one sentence
  std::string_view
      proof;  // "tests/grid/process_grid_test.cpp" or "...cpp ProcessGrid.GoldenDefaultOrder"; empty if none
};

std::span<const SupportRow> support_table();

// "yes", "yes, better", "not yet", "no".
std::string_view to_text(Support support);

// The whole of docs/support.md, without its last newline.
std::string support_table_markdown();

}  // namespace ringtron
