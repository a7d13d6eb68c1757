// Walks the arguments once: options by table, Megatron's other flags by verdict, everything else is a fault.
#include "ringtron/config/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/shown_message.h"
#include "ringtron/base/text.h"
#include "ringtron/config/help.h"
#include "ringtron/config/megatron_compat.h"
#include "ringtron/config/needs.h"
#include "ringtron/config/option.h"
#include "ringtron/config/validate.h"

namespace ringtron {
namespace {

// "-1" and "-1e-4" are values; "--x" and "-h" are not.
bool is_flag(const std::string& word) {
  if (word.size() < 2 || word[0] != '-') return false;
  return word[1] == '-' || word == "-h";
}

struct Flag {
  std::string name;                  // hyphens
  std::optional<std::string> value;  // after "="
};

Flag split_flag(const std::string& word) {
  const std::size_t equal = word.find('=');
  Flag flag{word.substr(0, equal), std::nullopt};
  if (equal != std::string::npos) flag.value = word.substr(equal + 1);
  std::replace(flag.name.begin(), flag.name.end(), '_', '-');
  return flag;
}

class Walk {
 public:
  Walk(std::span<const std::string> words, Config defaults) : words_(words) {
    parsed_.line.config = std::move(defaults);
  }

  ParsedFlags run() {
    while (next_ < words_.size()) {
      const std::string& word = words_[next_++];
      if (!is_flag(word)) {
        fault(word, fmt::format("'{}': expected a flag, got a value that no flag takes; remove it, or put it behind "
                                "its flag",
                                excerpt(word)));
        continue;
      }
      const Flag flag = split_flag(word);
      if (flag.name == "--help" || flag.name == "-h") {
        parsed_.help = true;
        parsed_.help_topic = flag.value.value_or("");
      } else if (const Option* option = find_option(flag.name)) {
        take_option(*option, flag);
      } else if (const ForeignFlag* foreign = find_foreign_flag(flag.name)) {
        take_foreign(*foreign, flag);
      } else {
        take_unknown(flag);
      }
    }
    return std::move(parsed_);
  }

 private:
  void fault(std::string flag, std::string message) { parsed_.faults.push_back({std::move(flag), std::move(message)}); }

  void note(Notice::Kind kind, std::string text) { parsed_.line.notices.push_back({kind, std::move(text)}); }

  // The values behind a flag: at most `most` words up to the next flag.
  std::vector<std::string> take_values(const Flag& flag, Arity arity) {
    std::vector<std::string> values;
    if (flag.value) return {*flag.value};
    const std::size_t most = arity == Arity::none ? 0 : arity == Arity::one ? 1 : words_.size();
    while (values.size() < most && next_ < words_.size() && !is_flag(words_[next_])) values.push_back(words_[next_++]);
    return values;
  }

  void take_option(const Option& option, const Flag& flag) {
    const Arity arity = option_arity(option);
    const std::vector<std::string> values = take_values(flag, arity);
    remember(option, flag.name, join(values, " "));
    if (arity == Arity::none && !values.empty()) {
      fault(flag.name, fmt::format("{}: expected no value, got '{}'; the flag alone {}", flag.name, excerpt(values[0]),
                                   option.detail.turns ? "switches it on" : "switches it off"));
      return;
    }
    if (arity != Arity::none && values.empty()) {
      fault(flag.name, fmt::format("{}: expected {}, got nothing; put the value behind the flag", flag.name,
                                   option_placeholder(option)));
      return;
    }
    if (const auto wrong = set_option(option, values, parsed_.line.config)) {
      fault(flag.name, fmt::format("{}: {}", flag.name, *wrong));
    }
  }

  // Of a flag given twice the last counts, also for faults: a first wrong value is still a fault.
  void remember(const Option& option, const std::string& name, const std::string& value) {
    const auto [before, first] = given_.try_emplace(std::string(option.name), value);
    if (first) {
      parsed_.line.set_names.push_back(name);
      return;
    }
    const std::string values = value.empty() && before->second.empty()
                                   ? ""
                                   : fmt::format(" ('{}', then '{}')", excerpt(before->second), excerpt(value));
    note(Notice::Kind::note, fmt::format("{} is given more than once{}; the last one counts", name, values));
    before->second = value;
  }

  void take_foreign(const ForeignFlag& foreign, const Flag& flag) {
    if (foreign.verdict == ForeignVerdict::refused) {
      take_values(flag, Arity::many);
      fault(flag.name, fmt::format("{}: Ringtron does not take this Megatron-LM flag: {}", flag.name, foreign.reason));
      return;
    }
    const std::vector<std::string> values = take_values(flag, foreign.arity);
    if (!foreign.only.empty() && (values.size() != 1 || values[0] != foreign.only)) {
      fault(flag.name, fmt::format("{}: expected {}, got '{}': {}", flag.name, foreign.only, excerpt(join(values, " ")),
                                   foreign.reason));
      return;
    }
    const bool warned = foreign.verdict == ForeignVerdict::warned;
    note(warned ? Notice::Kind::warning : Notice::Kind::note,
         fmt::format("{} has no effect: {}", flag.name, foreign.reason));
  }

  void take_unknown(const Flag& flag) {
    take_values(flag, Arity::many);
    std::vector<std::string> known = {"--help"};
    for (const OptionGroup& group : option_groups()) {
      for (const Option& option : group.options) known.emplace_back(option.name);
    }
    const std::vector<std::string> near = nearest_names(flag.name, known);
    fault(flag.name, fmt::format("{}: unknown flag{}", excerpt(flag.name),
                                 near.empty() ? "; --help lists all" : "; did you mean " + join(near, ", ") + "?"));
  }

  std::span<const std::string> words_;
  std::size_t next_ = 0;
  ParsedFlags parsed_;
  std::map<std::string, std::string> given_;  // option name -> last value
};

std::vector<std::string> messages(const ParsedFlags& parsed) {
  std::vector<std::string> out;
  for (const FlagFault& fault : parsed.faults) out.push_back(fault.message);
  return out;
}

}  // namespace

std::vector<std::string> arguments(int argc, const char* const* argv) {
  return argc > 1 ? std::vector<std::string>(argv + 1, argv + argc) : std::vector<std::string>();
}

ParsedFlags parse_flags(std::span<const std::string> arguments, Config defaults) {
  return Walk(arguments, std::move(defaults)).run();
}

ParseResult parse(std::span<const std::string> arguments, Config defaults) {
  ParsedFlags parsed = parse_flags(arguments, std::move(defaults));
  if (parsed.help) return HelpText{help_text(parsed.help_topic, terminal_columns())};
  throw_faults(messages(parsed));
  return std::move(parsed.line);
}

ParseResult parse_command_line(std::span<const std::string> arguments, int world_size, Config defaults) {
  ParsedFlags parsed = parse_flags(arguments, std::move(defaults));
  if (parsed.help) return HelpText{help_text(parsed.help_topic, terminal_columns())};
  std::vector<std::string> faults = messages(parsed);
  std::vector<std::string> reported;
  for (const FlagFault& fault : parsed.faults) reported.push_back(fault.flag);
  for (std::string& fault : validate(parsed.line.config, world_size, reported)) faults.push_back(std::move(fault));
  throw_faults(faults);
  FilledConfig filled = fill_defaults(parsed.line.config, world_size);
  for (Notice& notice : flags_without_effect(parsed.line, filled.config)) filled.notices.push_back(std::move(notice));
  parsed.line.config = std::move(filled.config);
  for (Notice& notice : filled.notices) parsed.line.notices.push_back(std::move(notice));
  return std::move(parsed.line);
}

}  // namespace ringtron
