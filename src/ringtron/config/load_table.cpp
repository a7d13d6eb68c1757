// The table of docs/concepts/checkpoints.md, out of the declaration that stored_config.cpp reads.
#include <fmt/format.h>

#include "ringtron/config/help.h"
#include "ringtron/config/option.h"
#include "ringtron/config/stored_config.h"

namespace ringtron {
namespace {

std::string_view rule_text(OnLoad rule) {
  switch (rule) {
    case OnLoad::must_equal:
      return "must be equal";
    case OnLoad::finetune:
      return "must be equal; may change with `--finetune`, told";
    case OnLoad::positions:
      return "must be equal with learned positions; else may change, told (samples)";
    case OnLoad::samples:
      return "may change, told (samples)";
    case OnLoad::told:
      return "may change, told";
    case OnLoad::schedule:
      return "by the schedule";
    case OnLoad::free:
      return "free";
  }
  return "";
}

}  // namespace

std::string load_table_markdown() {
  std::string out = "| Field | Flag | If the checkpoint has another value |\n|---|---|---|\n";
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      out += fmt::format("| `{}` | `{}` | {} |\n", option_key(option), option.name, rule_text(option.on_load));
    }
  }
  for (const DerivedValue& value : derived_values()) {
    out += fmt::format("| `{}` | {} | {} |\n", value.key, value.what, rule_text(value.on_load));
  }
  return out;
}

}  // namespace ringtron
