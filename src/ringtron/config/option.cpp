// Reads, checks and prints the value of one option, by the type of its field.
#include "ringtron/config/option.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "ringtron/base/check.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

// std::visit with one overload per field type.
template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

using Fault = std::optional<std::string>;

FieldRef field_of(const Option& option, Config& config) { return option.field(config); }

template <class T>
bool parse_number(const std::string& text, T& out) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (begin != end && *begin == '+') ++begin;
  const auto [stop, error] = std::from_chars(begin, end, out);
  if (error != std::errc() || stop != end || begin == end) return false;
  if constexpr (std::is_floating_point_v<T>) return std::isfinite(out);
  return true;
}

std::string limits_text(const Limits& limits) {
  std::vector<std::string> parts;
  if (limits.at_least) parts.push_back(fmt::format("at least {:g}", *limits.at_least));
  if (limits.above) parts.push_back(fmt::format("above {:g}", *limits.above));
  if (limits.at_most) parts.push_back(fmt::format("at most {:g}", *limits.at_most));
  if (limits.below) parts.push_back(fmt::format("below {:g}", *limits.below));
  return join(parts, " and ");
}

Fault check_number(const Limits& limits, double value) {
  const bool good = (!limits.at_least || value >= *limits.at_least) && (!limits.above || value > *limits.above) &&
                    (!limits.at_most || value <= *limits.at_most) && (!limits.below || value < *limits.below);
  if (good) return std::nullopt;
  return fmt::format("expected {}, got {:.12g}", limits_text(limits), value);
}

std::string unknown_word(std::span<const std::string_view> words, const std::string& got) {
  const std::vector<std::string> list(words.begin(), words.end());
  return fmt::format("expected {}{}, got '{}'", list.size() > 1 ? "one of " : "", join(list, ", "), excerpt(got));
}

Fault check_word(const Limits& limits, const std::string& value) {
  if (limits.choices == nullptr) return std::nullopt;
  const std::vector<std::string_view> words = limits.choices();
  if (std::ranges::find(words, value) != words.end()) return std::nullopt;
  return unknown_word(words, value);
}

Fault set_choice(const ChoiceRef& choice, const std::string& text) {
  if (!text.empty() && choice.read(text)) return std::nullopt;
  return unknown_word(choice.words(), text);
}

// For a whole number with more digits than T holds.
template <class T>
Fault beyond_type(const Limits& limits, const std::string& text) {
  const bool negative = text.starts_with('-');
  const bool limited = negative ? limits.at_least || limits.above : limits.at_most || limits.below;
  if (limited) return fmt::format("expected {}, got {}", limits_text(limits), excerpt(text));
  return negative ? fmt::format("expected at least {}, got {}", std::numeric_limits<T>::min(), excerpt(text))
                  : fmt::format("expected at most {}, got {}", std::numeric_limits<T>::max(), excerpt(text));
}

bool is_whole_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

template <class T>
Fault set_number(const Limits& limits, const std::string& text, T& field) {
  T value{};
  if (!parse_number(text, value)) {
    constexpr bool kFloating = std::is_floating_point_v<T>;
    if constexpr (!kFloating) {
      if (is_whole_number(text)) return beyond_type<T>(limits, text);
    }
    return fmt::format("expected {}, got '{}'", kFloating ? "a finite number" : "a whole number", excerpt(text));
  }
  if (Fault fault = check_number(limits, static_cast<double>(value))) return fault;
  field = value;
  return std::nullopt;
}

Fault set_word(const Limits& limits, const std::string& text, std::string& field) {
  if (Fault fault = check_word(limits, text)) return fault;
  if (text.empty()) return "expected a value, got an empty one; leave the flag out instead";
  field = text;
  return std::nullopt;
}

// Whole numbers may also come in one word, as Megatron writes tuples: 127,0 or (127,0).
std::vector<std::string> split_tuples(std::span<const std::string> values) {
  std::vector<std::string> numbers;
  for (std::string_view text : values) {
    if (text.size() > 2 && text.front() == '(' && text.back() == ')') text = text.substr(1, text.size() - 2);
    for (std::string& number : split(text, ',')) numbers.push_back(std::move(number));
  }
  return numbers;
}

template <class T, class SetOne>
Fault set_list(std::span<const std::string> values, std::vector<T>& field, SetOne set_one) {
  std::vector<T> list;
  for (const std::string& text : values) {
    T value{};
    if (Fault fault = set_one(text, value)) return fault;
    list.push_back(std::move(value));
  }
  field = std::move(list);
  return std::nullopt;
}

// Python's repr of a float, which is what Megatron's dump shows: shortest digits, and a dot or an exponent.
std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

template <class T, class Text>
std::string list_text(const std::vector<T>& list, Text text) {
  if (list.empty()) return "None";
  std::vector<std::string> parts;
  for (const T& item : list) parts.push_back(text(item));
  return "[" + join(parts, ", ") + "]";
}

std::string value_text(FieldRef field) {
  return std::visit(Overload{
                        [](bool* v) { return std::string(*v ? "True" : "False"); },
                        [](int* v) { return fmt::format("{}", *v); },
                        [](std::int64_t* v) { return fmt::format("{}", *v); },
                        [](double* v) { return number_text(*v); },
                        [](std::string* v) { return v->empty() ? std::string("None") : *v; },
                        [](std::optional<double>* v) { return *v ? number_text(**v) : std::string("None"); },
                        [](std::vector<std::string>* v) {
                          return list_text(*v, [](const std::string& s) { return fmt::format("'{}'", s); });
                        },
                        [](std::vector<int>* v) { return list_text(*v, [](int n) { return fmt::format("{}", n); }); },
                        [](ChoiceRef v) { return std::string(v.word().empty() ? "None" : v.word()); },
                    },
                    field);
}

// 0 stands for "not given" where the table says that the default is derived or absent.
bool stands_for_not_given(const Option& option, double value) {
  return value == 0.0 && !option.detail.default_text.empty();
}

}  // namespace

std::span<const OptionGroup> option_groups() {
  static const OptionGroup kGroups[] = {
      {"parallel", "Parallel layout", parallel_options()},
      {"model", "Model", model_options()},
      {"batch", "Batch and length of the run", batch_options()},
      {"optimizer", "Optimizer and schedule", optimizer_options()},
      {"precision", "Precision, initial weights, randomness", precision_options()},
      {"recompute", "Recomputed activations", recompute_options()},
      {"checkpoint", "Checkpoints", checkpoint_options()},
      {"data", "Data and tokenizer", data_options()},
      {"evaluation", "Evaluation", evaluation_options()},
      {"logging", "Logging", logging_options()},
  };
  return kGroups;
}

const Option* find_option(std::string_view name) {
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      if (option.name == name) return &option;
    }
  }
  return nullptr;
}

std::string option_key(const Option& option) {
  std::string key(option.detail.key.empty() ? option.name.substr(2) : option.detail.key);
  for (char& c : key) c = c == '-' ? '_' : c;
  return key;
}

std::vector<std::string> option_choices(const Option& option) {
  Config config;
  const FieldRef field = field_of(option, config);
  const auto* choice = std::get_if<ChoiceRef>(&field);
  if (choice != nullptr) return {choice->words().begin(), choice->words().end()};
  if (option.limits.choices == nullptr) return {};
  const std::vector<std::string_view> words = option.limits.choices();
  return {words.begin(), words.end()};
}

Arity option_arity(const Option& option) {
  Config config;
  return std::visit(Overload{[](bool*) { return Arity::none; }, [](std::vector<std::string>*) { return Arity::many; },
                             [](std::vector<int>*) { return Arity::many; }, [](auto) { return Arity::one; }},
                    field_of(option, config));
}

std::optional<std::string> set_option(const Option& option, std::span<const std::string> values, Config& config) {
  RT_CHECK(option_arity(option) == Arity::none ? values.empty() : !values.empty(), "{}: {} values", option.name,
           values.size());
  const Limits& limits = option.limits;
  return std::visit(Overload{
                        [&](bool* v) -> Fault {
                          *v = option.detail.turns;
                          return std::nullopt;
                        },
                        [&](std::string* v) { return set_word(limits, values[0], *v); },
                        [&](std::optional<double>* v) -> Fault {
                          double value = 0;
                          if (Fault fault = set_number(limits, values[0], value)) return fault;
                          *v = value;
                          return std::nullopt;
                        },
                        [&](std::vector<std::string>* v) {
                          return set_list(values, *v,
                                          [&](const auto& text, auto& one) { return set_word(limits, text, one); });
                        },
                        [&](std::vector<int>* v) {
                          return set_list(split_tuples(values), *v,
                                          [&](const auto& text, auto& one) { return set_number(limits, text, one); });
                        },
                        [&](ChoiceRef v) { return set_choice(v, values[0]); },
                        [&](auto* number) { return set_number(limits, values[0], *number); },
                    },
                    field_of(option, config));
}

std::optional<std::string> check_option(const Option& option, Config config) {
  const Limits& limits = option.limits;
  const auto number = [&](double value) -> Fault {
    return stands_for_not_given(option, value) ? std::nullopt : check_number(limits, value);
  };
  return std::visit(Overload{
                        [](bool*) -> Fault { return std::nullopt; },
                        [](ChoiceRef) -> Fault { return std::nullopt; },
                        [&](std::string* v) { return v->empty() ? Fault() : check_word(limits, *v); },
                        [&](std::optional<double>* v) { return *v ? number(**v) : Fault(); },
                        [&](std::vector<std::string>* v) -> Fault {
                          for (const std::string& word : *v) {
                            if (Fault fault = check_word(limits, word)) return fault;
                          }
                          return std::nullopt;
                        },
                        [&](std::vector<int>* v) -> Fault {
                          for (int n : *v) {
                            if (Fault fault = check_number(limits, n)) return fault;
                          }
                          return std::nullopt;
                        },
                        [&](auto* v) { return number(static_cast<double>(*v)); },
                    },
                    field_of(option, config));
}

std::string option_value(const Option& option, const Config& config) {
  Config copy = config;  // a Field hands out mutable members
  return value_text(field_of(option, copy));
}

std::string option_default(const Option& option) {
  if (!option.detail.default_text.empty()) return std::string(option.detail.default_text);
  Config config;
  const FieldRef field = field_of(option, config);
  if (const auto* flag = std::get_if<bool*>(&field)) return **flag ? "on" : "off";
  std::string text = value_text(field);
  if (text == "None") return "none";
  if (const auto* list = std::get_if<std::vector<std::string>*>(&field)) text = join(**list, " ");
  if (!option.detail.unit.empty()) text += " " + std::string(option.detail.unit);
  return text;
}

std::string option_placeholder(const Option& option) {
  Config config;
  std::string one =
      std::visit(Overload{[](bool*) { return ""; }, [](int*) { return "N"; }, [](std::int64_t*) { return "N"; },
                          [](double*) { return "X"; }, [](std::optional<double>*) { return "X"; },
                          [](std::string*) { return "TEXT"; }, [](std::vector<std::string>*) { return "TEXT"; },
                          [](std::vector<int>*) { return "N"; }, [](ChoiceRef) { return ""; }},
                 field_of(option, config));
  if (const auto words = option_choices(option); !words.empty()) one = "{" + join(words, ",") + "}";
  return option_arity(option) == Arity::many ? one + " ..." : one;
}

}  // namespace ringtron
