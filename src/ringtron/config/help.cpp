// Prints the option tables for people.
#include "ringtron/config/help.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/megatron_compat.h"
#include "ringtron/config/option.h"
#include "ringtron/config/stored_config.h"

namespace ringtron {
namespace {

constexpr int kHelpColumn = 6;

// Words of `text` in lines of at most `columns`, each indented.
std::string wrap(std::string_view text, int indent, int columns) {
  std::string out, line;
  for (const std::string& word : split(text, ' ')) {
    if (!line.empty() && indent + static_cast<int>(line.size() + 1 + word.size()) > columns) {
      out += std::string(indent, ' ') + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return out + std::string(indent, ' ') + line + "\n";
}

std::string verdict_text(const Option& option) {
  const std::string note = option.detail.note.empty() ? "" : fmt::format(": {}", option.detail.note);
  switch (option.compat) {
    case Compat::same:
      return "same" + note;
    case Compat::accepted_no_effect:
      return "accepted, no effect" + note;
    case Compat::ours:
      return "ours" + note;
  }
  return note;
}

// A switch's default is the state without the flag, whichever way the flag turns it.
std::string default_text(const Option& option) {
  if (option_arity(option) != Arity::none) return option_default(option);
  if (!option.detail.default_text.empty()) return option_default(option);
  return option.detail.turns ? "off" : fmt::format("{} on", option_key(option));
}

// The unit stands beside the default; where the default is words, it is said here.
std::string meaning_text(const Option& option) {
  const bool unit_is_missing = !option.detail.unit.empty() && !option.detail.default_text.empty();
  return unit_is_missing ? fmt::format("{} Unit: {}.", option.help, option.detail.unit) : std::string(option.help);
}

std::string option_help(const Option& option, int columns) {
  const std::string placeholder = option_placeholder(option);
  std::string head = fmt::format("{}{}{}", option.name, placeholder.empty() ? "" : " ", placeholder);
  if (static_cast<int>(head.size()) + 2 > columns) head = join(split(head, ','), ", ");  // a long list of words
  std::string text = wrap(head, 2, columns);
  std::string help = fmt::format("{} [{}]", meaning_text(option), default_text(option));
  if (option.compat == Compat::accepted_no_effect) help += fmt::format(" No effect: {}.", option.detail.note);
  return text + wrap(help, kHelpColumn, columns);
}

std::string group_help(const OptionGroup& group, int columns) {
  std::string out = fmt::format("{} (--help={})\n", group.title, group.name);
  for (const Option& option : group.options) out += option_help(option, columns);
  return out + "\n";
}

std::string escape_cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string foreign_table(std::span<const ForeignFlag> flags, bool warned) {
  std::vector<std::string> rows;
  for (const ForeignFlag& flag : flags) {
    if ((flag.verdict == ForeignVerdict::warned) != warned) continue;
    rows.push_back(fmt::format("| `{}` | {} |\n", flag.name, escape_cell(flag.reason)));
  }
  std::sort(rows.begin(), rows.end());
  return "| Flag | Because |\n|---|---|\n" + join(rows, "") + "\n";
}

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

std::string help_text(std::string_view topic, int columns) {
  if (topic == "markdown" || topic == "load") {
    std::string text = topic == "load" ? load_table_markdown() : flags_markdown();
    text.pop_back();  // who prints it ends the line
    return text;
  }
  std::vector<std::string> topics;
  for (const OptionGroup& group : option_groups()) {
    if (topic == group.name) return group_help(group, columns);
    topics.emplace_back(group.name);
  }
  if (!topic.empty()) {
    throw ConfigError(
        fmt::format("--help: expected one of {}, markdown or load, got '{}'", join(topics, ", "), excerpt(topic)));
  }
  std::string out =
      wrap("Pretrains a GPT model on long sequences, on one process or many, with the flags of Megatron-LM.", 0,
           columns) +
      "\n" +
      wrap("ringrun --nproc-per-node 8 pretrain_gpt --tensor-model-parallel-size 2 --context-parallel-size 4 ...", 2,
           columns) +
      wrap("check_cp_config --world-size 8 ... tells sizes, bytes and faults of the same flags and starts nothing.", 2,
           columns) +
      "\n" +
      wrap(
          "Flags may be written --a-b or --a_b; of a flag given twice the last counts. "
          "Defaults stand in brackets. "
          "--help=GROUP prints one group.",
          0, columns) +
      "\n";
  for (const OptionGroup& group : option_groups()) out += group_help(group, columns);
  return out;
}

std::string flags_markdown() {
  std::string out =
      "# Flags\n\n"
      "Generated from the option tables by `pretrain_gpt --help=markdown`; a test compares this file with "
      "them.\n\n"
      "Names and defaults are Megatron-LM's. *same*: means what it means there. *ours*: Megatron-LM has no "
      "such flag, "
      "or ours differs as said. Both `--a-b` and `--a_b` are read; of a flag given twice the last counts.\n";
  for (const OptionGroup& group : option_groups()) {
    out += fmt::format("\n## {}\n\n| Flag | Default | Meaning | Verdict |\n|---|---|---|---|\n", group.title);
    for (const Option& option : group.options) {
      const std::string placeholder = option_placeholder(option);
      out += fmt::format("| `{}{}{}` | {} | {} | {} |\n", option.name, placeholder.empty() ? "" : " ", placeholder,
                         escape_cell(default_text(option)), escape_cell(meaning_text(option)),
                         escape_cell(verdict_text(option)));
    }
  }
  out +=
      "\n## Megatron-LM flags accepted without effect\n\n"
      "They pick an implementation or change a detail of a log; results, memory and files do not depend on "
      "them. A "
      "notice names each one that is given.\n\n" +
      foreign_table(accepted_flags(), false);
  out += "These do concern memory or the schedule. They are accepted with a warning:\n\n" +
         foreign_table(accepted_flags(), true);
  out +=
      "## Megatron-LM flags refused\n\n"
      "The run ends at once with exit code 2 and the reason. A star stands for a family of flags.\n\n" +
      foreign_table(refused_flags(), false);
  out.pop_back();
  return out;
}

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

int terminal_columns() {
  constexpr int kWidest = 100, kNarrowest = 60;
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kWidest;
  return std::clamp<int>(size.ws_col, kNarrowest, kWidest);
}

}  // namespace ringtron
