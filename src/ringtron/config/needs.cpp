#include "ringtron/config/needs.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "ringtron/base/check.h"
#include "ringtron/base/text.h"
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

const Option& declared(std::string_view name) {
  const Option* option = find_option(name);
  RT_CHECK(option != nullptr, "{} is needed by a flag, and is none", name);
  return *option;
}

// One term of Detail::needs, taken apart.
struct Term {
  std::string flag, word;  // word: empty where the flag alone is asked for
  bool negated = false, same_value = false;

  explicit Term(std::string_view text) {
    negated = text.starts_with('!');
    same_value = text.starts_with('=');
    if (negated || same_value) text.remove_prefix(1);
    const std::size_t blank = text.find(' ');
    flag = text.substr(0, blank);
    if (blank == std::string_view::npos) return;
    word = text.substr(blank + 1);
    negated = word.starts_with('!');
    if (negated) word.erase(0, 1);
  }

  bool holds(const std::string& own_value, const Config& filled) const {
    const Option& option = declared(flag);
    const std::string value = option_value(option, filled);
    if (same_value) return value == own_value;
    const bool is_there = word.empty() ? value != option_value(option, Config{})
                                       : value == word || value.find("'" + word + "'") != std::string::npos;
    return is_there != negated;
  }

  std::string text() const { return word.empty() ? flag : flag + " " + word; }
};

std::vector<Term> terms_of(std::string_view needs) {
  std::vector<Term> terms;
  for (const std::string& part : split(needs, '|')) terms.emplace_back(trim(part));
  return terms;
}

// "without --save", "without A, B or C", "with --lr-decay-style constant".
std::string what_is_missing(const std::vector<Term>& terms) {
  if (terms.front().negated) return "with " + terms.front().text();
  std::vector<std::string> names;
  for (const Term& term : terms) {
    if (!term.negated && !term.same_value) names.push_back(term.text());
  }
  const std::string last = names.back();
  names.pop_back();
  return "without " + (names.empty() ? last : join(names, ", ") + " or " + last);
}

bool is_given(const CommandLine& line, std::string_view name) {
  return std::find(line.set_names.begin(), line.set_names.end(), name) != line.set_names.end();
}

// What a flag needs beyond other flags' words.
void note_values(const CommandLine& given, const Config& filled, std::vector<Notice>& notices) {
  const ModelConfig &asked = given.config.model, &model = filled.model;
  if (is_given(given, "--position-embedding-type") && asked.use_rotary_position_embeddings &&
      asked.position_embedding_type != model.position_embedding_type) {
    notices.push_back(
        {Notice::Kind::warning,
         fmt::format("--position-embedding-type {} has no effect with --use-rotary-position-embeddings: {} counts, "
                     "as in Megatron-LM",
                     option_value(declared("--position-embedding-type"), given.config),
                     option_value(declared("--position-embedding-type"), filled))});
  }
  if (model.window_size.size() == 2 && model.seq_length > 0 && model.window_size[0] >= model.seq_length - 1) {
    notices.push_back(
        {Notice::Kind::warning,
         fmt::format("--window-size {} hides nothing: --seq-length is {}, and no query has more than {} keys before it",
                     model.window_size[0], model.seq_length, model.seq_length - 1)});
  }
}

}  // namespace

std::vector<Notice> flags_without_effect(const CommandLine& given, const Config& filled) {
  std::vector<Notice> notices;
  for (const std::string& name : given.set_names) {
    const Option& option = declared(name);
    if (option.detail.needs.empty()) continue;
    const std::string value = option_value(option, given.config);
    const std::vector<Term> terms = terms_of(option.detail.needs);
    const bool holds =
        std::any_of(terms.begin(), terms.end(), [&](const Term& term) { return term.holds(value, filled); });
    if (holds || value == option_value(option, Config{})) continue;
    const std::string_view otherwise = option.detail.otherwise;
    notices.push_back({Notice::Kind::warning, fmt::format("{} has no effect {}{}{}", name, what_is_missing(terms),
                                                          otherwise.empty() ? "" : ": ", otherwise)});
  }
  note_values(given, filled, notices);
  return notices;
}

}  // namespace ringtron
