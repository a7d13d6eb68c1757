// The record that declares one flag, and what can be done with one record alone: read a value, check it,
// print it.
//
// The default is the member initialiser in config.h; everything else about a flag (name, help, range, unit,
// how it relates to Megatron-LM's flag of that name) stands in one Option of the tables options_<group>.cpp.
// Parsing, --help, docs/flags.md, the start-up listing, the configuration in checkpoints and its comparison at
// a load all walk option_groups(). Pure functions over constant tables: safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ringtron/config/choice_ref.h"
#include "ringtron/config/config.h"

namespace ringtron {

// The member of a Config that a flag sets. Its C++ type is the flag's type.
using FieldRef = std::variant<bool*, int*, std::int64_t*, double*, std::string*, std::optional<double>*,
                              std::vector<std::string>*, std::vector<int>*, ChoiceRef>;
using Field = FieldRef (*)(Config&);

template <class T>
FieldRef field_ref(T& member) {
  if constexpr (ChoiceMember<T>) {
    return ChoiceRef(member);
  } else {
    return &member;
  }
}

// A captureless lambda from a Config to one of its members: FIELD(parallel.context_parallel_size).
#define FIELD(path) \
  [](::ringtron::Config& config) -> ::ringtron::FieldRef { return ::ringtron::field_ref(config.path); }

// How a flag relates to Megatron-LM's flag of the same name.
enum class Compat {
  same,                // the same meaning and default
  accepted_no_effect,  // read and kept, but nothing depends on it; Detail::note says why
  ours,                // Megatron has no such flag, or ours differs; Detail::note says how
};

// What a load does when the checkpoint was made with another value of this flag (stored_config.h).
enum class OnLoad {
  must_equal,  // refused: the weights mean something else, or nothing
  finetune,    // refused, but with --finetune it may change and a line says so: what extends the context
  positions,   // refused with learned positions, of which it is the number; otherwise as `samples`
  samples,     // may change, a line says so: other samples follow. With --finetune it is free
  told,        // may change, a line says so. With --finetune it is free
  schedule,    // refused by the schedule itself (lr_schedule.h), unless a flag says which of the two counts
  free,        // nothing that is saved depends on it
};

// What one value may be. Numbers in a list, and strings in a list, are checked one by one.
struct Limits {
  std::optional<double> at_least = std::nullopt;
  std::optional<double> at_most = std::nullopt;
  std::optional<double> above = std::nullopt;
  std::optional<double> below = std::nullopt;
  std::vector<std::string_view> (*choices)() = nullptr;  // of a text; an enum's are its words
};

struct Detail {
  std::string_view note = {};          // the reason that belongs to the verdict
  std::string_view unit = {};          // of the value: "tokens", "minutes"
  std::string_view default_text = {};  // where the initialiser (0, empty) only stands for "derived" or "none"
  std::string_view key = {};           // name in listings, where it is not the flag's own with underscores
  bool turns = true;                   // what a switch sets: false for --no-x and --disable-x
  std::string_view needs = {};         // what it has no effect without, in the words of needs.h
  std::string_view otherwise = {};     // what happens then
};

struct Option {
  std::string_view name;  // "--context-parallel-size"
  Field field;
  OnLoad on_load;  // declared by every record: without it the table does not compile
  std::string_view help;
  Limits limits = {};
  Compat compat = Compat::same;
  Detail detail = {};
};

struct OptionGroup {
  std::string_view name;   // for --help=NAME
  std::string_view title;  // heading
  std::span<const Option> options;
};

// All groups, in the order in which help and documents print them.
std::span<const OptionGroup> option_groups();

// The flag called `name` ("--lr"; underscores already turned into hyphens), or nullptr.
const Option* find_option(std::string_view name);

// "context_parallel_size"; of --no-bias-gelu-fusion "bias_gelu_fusion": Megatron's name of the value.
std::string option_key(const Option& option);

// The words that its value may be; empty where it is free.
std::vector<std::string> option_choices(const Option& option);

enum class Arity { none, one, many };  // values that follow a flag; many: at least one
Arity option_arity(const Option& option);

// Puts `values` into the field. Returns what is wrong (expected, got), or nothing. After a fault the field is
// unchanged. A switch takes no values; the others take as many as option_arity() says.
std::optional<std::string> set_option(const Option& option, std::span<const std::string> values, Config& config);

// What is wrong with the value the field has now, by the option's limits, or nothing. Values that stand for
// "not given" (0 of a derived size, an empty string, an empty optional) are right.
std::optional<std::string> check_option(const Option& option, Config config);

// "8", "0.0001", "True", "['p2p']", "None": as Megatron's argument dump prints it. Doubles read back to the
// same bits.
std::string option_value(const Option& option, const Config& config);

// The default for people: Detail::default_text, or the initialiser's value, with the unit.
std::string option_default(const Option& option);

// "N", "X", "TEXT", "{p2p,a2a}", "PATH [PATH ...]"; empty for a switch.
std::string option_placeholder(const Option& option);

// The tables, one per file; option_groups() collects them.
std::span<const Option> parallel_options();
std::span<const Option> model_options();
std::span<const Option> batch_options();
std::span<const Option> optimizer_options();
std::span<const Option> precision_options();
std::span<const Option> recompute_options();
std::span<const Option> checkpoint_options();
std::span<const Option> data_options();
std::span<const Option> evaluation_options();
std::span<const Option> logging_options();

}  // namespace ringtron
