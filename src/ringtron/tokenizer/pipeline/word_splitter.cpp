#include "ringtron/tokenizer/pipeline/word_splitter.h"

#include <fmt/format.h>

#include <utility>

#include "ringtron/tokenizer/byte_to_unicode.h"
#include "ringtron/tokenizer/pipeline/normalizer.h"
#include "ringtron/tokenizer/pipeline/utf8.h"
#include "ringtron/tokenizer/pre_tokenizer.h"

namespace ringtron {
namespace {

constexpr const char kBuilt[] =
    "ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit, Punctuation, Sequence";

enum class Behavior { isolated, removed, contiguous, merged_with_previous, merged_with_next };

Behavior behavior_of(const JsonPart& json) {
  const std::string word = json.text();
  if (word == "Isolated") return Behavior::isolated;
  if (word == "Removed") return Behavior::removed;
  if (word == "Contiguous") return Behavior::contiguous;
  if (word == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (word == "MergedWithNext") return Behavior::merged_with_next;
  json.refuse("expected Isolated, Removed, Contiguous, MergedWithPrevious or MergedWithNext");
}

struct Piece {
  std::size_t begin, end;
  bool match;
};

// Adds the words that pieces, which together are `text`, make under a behavior.
void add_words(std::string_view text, const std::vector<Piece>& pieces, Behavior behavior,
               std::vector<std::string>& words) {
  std::vector<std::pair<std::size_t, std::size_t>> ends;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    const bool after = i > 0, after_match = after && pieces[i - 1].match;
    bool join = false;  // with the word before
    if (behavior == Behavior::removed && piece.match) continue;
    if (behavior == Behavior::contiguous) join = after && pieces[i - 1].match == piece.match;
    if (behavior == Behavior::merged_with_previous) join = after && piece.match && !after_match;
    if (behavior == Behavior::merged_with_next) join = after_match && !piece.match;
    if (join) {
      ends.back().second = piece.end;
    } else {
      ends.emplace_back(piece.begin, piece.end);
    }
  }
  for (const auto& [begin, end] : ends) {
    if (end > begin) words.emplace_back(text.substr(begin, end - begin));
  }
}

class PatternStep final : public SplitStep {
 public:
  PatternStep(TextPattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, bool, std::vector<std::string>& words) const override {
    std::vector<Piece> pieces;
    std::size_t done = 0;
    while (const auto match = pattern_.find(text, done)) {
      if (match->first > done) pieces.push_back({done, match->first, invert_});
      pieces.push_back({match->first, match->second, !invert_});
      done = match->second;
    }
    if (done < text.size()) pieces.push_back({done, text.size(), invert_});
    add_words(text, pieces, behavior_, words);
  }

 private:
  TextPattern pattern_;
  Behavior behavior_;
  bool invert_;
};

class RulesStep final : public SplitStep {
 public:
  explicit RulesStep(const WordRules& rules) : rules_(rules) {}

  void split(std::string_view text, bool, std::vector<std::string>& words) const override {
    for_each_word_by(rules_, text, [&](std::string_view word) { words.emplace_back(word); });
  }

 private:
  WordRules rules_;
};

// Runs of numbers, or each number, apart.
class DigitsStep final : public SplitStep {
 public:
  explicit DigitsStep(bool individual) : individual_(individual) {}

  void split(std::string_view text, bool, std::vector<std::string>& words) const override {
    const CharacterScanner scanner(text);
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size();) {
      const Character c = scanner.at(i);
      const bool number = c.kind() == CharacterKind::number;
      if (i > begin) {
        const bool before = scanner.at(begin).kind() == CharacterKind::number;
        if (number != before || (number && individual_)) {
          words.emplace_back(text.substr(begin, i - begin));
          begin = i;
        }
      }
      i += c.length;
    }
    words.emplace_back(text.substr(begin));
  }

 private:
  bool individual_;
};

// A mark in place of spaces, before each of which the text is cut.
class MetaspaceStep final : public SplitStep {
 public:
  enum class Prepend { always, first, never };
  MetaspaceStep(std::string mark, Prepend prepend, bool cut) : mark_(std::move(mark)), prepend_(prepend), cut_(cut) {}

  void split(std::string_view text, bool at_start, std::vector<std::string>& words) const override {
    std::string marked;
    for (const char c : text) {
      if (c == ' ') {
        marked += mark_;
      } else {
        marked += c;
      }
    }
    const bool wanted = prepend_ == Prepend::always || (prepend_ == Prepend::first && at_start);
    if (wanted && !marked.starts_with(mark_)) marked.insert(0, mark_);
    std::size_t begin = 0;
    while (cut_) {
      const std::size_t next = marked.find(mark_, begin + 1);
      if (next == std::string::npos) break;
      words.push_back(marked.substr(begin, next - begin));
      begin = next;
    }
    words.push_back(marked.substr(begin));
  }

 private:
  std::string mark_;
  Prepend prepend_;
  bool cut_;
};

// GPT-2's words, if wanted, in its byte alphabet.
class ByteLevelStep final : public SplitStep {
 public:
  ByteLevelStep(bool prefix_space, bool cut) : prefix_space_(prefix_space), cut_(cut) {}

  void split(std::string_view text, bool, std::vector<std::string>& words) const override {
    std::string spaced;
    if (prefix_space_ && !text.starts_with(' ')) text = spaced = " " + std::string(text);
    if (!cut_) {
      words.push_back(printable_from_bytes(text));
    } else {
      ringtron::for_each_word(text, [&](std::string_view word) { words.push_back(printable_from_bytes(word)); });
    }
  }

 private:
  bool prefix_space_, cut_;
};

MetaspaceStep metaspace_of(const JsonPart& json) {
  const std::string scheme =
      json.text_or("prepend_scheme", json.flag_or("add_prefix_space", true) ? "always" : "never");
  const auto prepend = scheme == "always"  ? MetaspaceStep::Prepend::always
                       : scheme == "first" ? MetaspaceStep::Prepend::first
                                           : MetaspaceStep::Prepend::never;
  if (prepend == MetaspaceStep::Prepend::never && scheme != "never") {
    json.at("prepend_scheme").refuse("expected always, first or never");
  }
  const std::string mark = json.text("replacement");
  if (mark.empty() || mark.size() != utf8_length(mark[0])) json.at("replacement").refuse("expected one character");
  return {mark, prepend, json.flag_or("split", true)};
}

// The parts of nested Sequences, in order.
void flatten(const JsonPart& json, std::vector<JsonPart>& parts) {
  if (json.text("type") != "Sequence") {
    parts.push_back(json);
    return;
  }
  for (const JsonPart& part : json.items("pretokenizers")) flatten(part, parts);
}

bool is_plain_byte_level(const JsonPart& json, bool cut) {
  return json.text("type") == "ByteLevel" && !json.flag_or("add_prefix_space", true) &&
         json.flag_or("use_regex", true) == cut;
}

// A Split by rules, each word apart.
std::optional<WordRules> rules_of(const JsonPart& json) {
  if (json.text("type") != "Split" || json.flag_or("invert", false) || json.text("behavior") != "Isolated" ||
      !json.at("pattern").has("Regex")) {
    return std::nullopt;
  }
  return word_rules_of(json.at("pattern").text("Regex"));
}

constexpr const char kPunctuation[] = R"([!-/:-@\[-`{-~\p{P}])";

std::shared_ptr<const SplitStep> step_of(const JsonPart& json) {
  const std::string type = json.text("type");
  const auto by_pattern = [](const std::string& expression, Behavior behavior, bool invert) {
    return std::make_shared<PatternStep>(TextPattern(expression, "tokenizer.json"), behavior, invert);
  };
  if (type == "ByteLevel") {
    return std::make_shared<ByteLevelStep>(json.flag_or("add_prefix_space", true), json.flag_or("use_regex", true));
  }
  if (type == "Split") {
    if (const auto rules = rules_of(json)) return std::make_shared<RulesStep>(*rules);
    return std::make_shared<PatternStep>(pattern_of(json.at("pattern")), behavior_of(json.at("behavior")),
                                         json.flag_or("invert", false));
  }
  if (type == "Metaspace") return std::make_shared<MetaspaceStep>(metaspace_of(json));
  if (type == "Digits") return std::make_shared<DigitsStep>(json.flag_or("individual_digits", false));
  if (type == "Whitespace") {
    return by_pattern(fmt::format(R"([{0}]+|[^\s{0}]+)", kWordCharacters), Behavior::removed, true);
  }
  if (type == "WhitespaceSplit") return by_pattern(R"(\s)", Behavior::removed, false);
  if (type == "Punctuation") {
    return by_pattern(kPunctuation, json.has("behavior") ? behavior_of(json.at("behavior")) : Behavior::isolated,
                      false);
  }
  json.refuse_kind(kBuilt);
}

}  // namespace

WordSplitter::WordSplitter(const JsonPart& json) {
  std::vector<JsonPart> parts;
  flatten(json, parts);
  if (parts.size() == 1 && is_plain_byte_level(parts[0], true)) {
    words_ = Words::gpt2;
  } else if (parts.size() == 2 && is_plain_byte_level(parts[1], false) && rules_of(parts[0])) {
    words_ = Words::by_rules;
    rules_ = *rules_of(parts[0]);
  }
  for (const JsonPart& part : parts) {
    if (part.text("type") == "ByteLevel") {
      byte_level_ = true;
    } else if (byte_level_ && part.text("type") == "Metaspace") {
      part.refuse("Metaspace after ByteLevel is not built");
    }
    steps_.push_back(step_of(part));
  }
}

void WordSplitter::words_by_steps(std::string_view text, bool at_start,
                                  const std::function<void(std::string_view)>& visit) const {
  std::vector<std::string> words = {std::string(text)}, smaller;
  for (const auto& step : steps_) {
    smaller.clear();
    for (std::size_t i = 0; i < words.size(); ++i) step->split(words[i], at_start && i == 0, smaller);
    words.swap(smaller);
  }
  for (const std::string& word : words) {
    if (!byte_level_) {
      visit(word);
    } else if (const auto bytes = bytes_from_printable(word)) {
      visit(*bytes);
    }
  }
}

}  // namespace ringtron
