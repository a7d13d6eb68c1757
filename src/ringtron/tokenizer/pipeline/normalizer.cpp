#include "ringtron/tokenizer/pipeline/normalizer.h"

#include "ringtron/tokenizer/pipeline/character_scanner.h"
#include "ringtron/tokenizer/pipeline/utf8.h"

namespace ringtron {
namespace {

constexpr const char kBuilt[] = "NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, Sequence";

// `text` with each match replaced; false if there is none.
bool replace_all(std::string_view text, const TextPattern& pattern, const std::string& content, std::string& out) {
  auto match = pattern.find(text, 0);
  if (!match) return false;
  std::string changed;
  std::size_t copied = 0;
  for (; match; match = pattern.find(text, copied)) {
    (changed += text.substr(copied, match->first - copied)) += content;
    copied = match->second;
  }
  out = std::move(changed += text.substr(copied));
  return true;
}

std::string_view stripped(std::string_view text, bool left, bool right) {
  const CharacterScanner scanner(text);
  std::size_t begin = left ? scanner.run_end(0, CharacterKind::space) : 0, end = begin;
  if (!right) return text.substr(begin);
  for (std::size_t i = begin; !scanner.at_end(i);) {
    const Character c = scanner.at(i);
    i += c.length;
    if (c.kind() != CharacterKind::space) end = i;
  }
  return text.substr(begin, end - begin);
}

}  // namespace

TextPattern pattern_of(const JsonPart& json) {
  if (json.has("String")) return TextPattern::literal(json.text("String"));
  if (json.has("Regex")) return {json.text("Regex"), "tokenizer.json"};
  json.refuse("expected {\"String\": ...} or {\"Regex\": ...}");
}

Normalizer::Normalizer(const JsonPart& json) { add(json); }

void Normalizer::add(const JsonPart& json) {
  const std::string type = json.text("type");
  if (type == "Sequence") {
    for (const JsonPart& part : json.items("normalizers")) add(part);
  } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    steps_.push_back({type == "NFC"    ? Kind::nfc
                      : type == "NFD"  ? Kind::nfd
                      : type == "NFKC" ? Kind::nfkc
                                       : Kind::nfkd});
  } else if (type == "Lowercase") {
    steps_.push_back({Kind::lowercase});
  } else if (type == "Prepend") {
    steps_.push_back({Kind::prepend, json.text("prepend")});
  } else if (type == "Replace") {
    steps_.push_back({Kind::replace, json.text("content"), {pattern_of(json.at("pattern"))}});
  } else if (type == "Strip") {
    steps_.push_back(
        {.kind = Kind::strip, .left = json.flag_or("strip_left", true), .right = json.flag_or("strip_right", true)});
  } else {
    json.refuse_kind(kBuilt);
  }
}

bool Normalizer::run(const Step& step, std::string_view text, std::string& out) {
  switch (step.kind) {
    case Kind::nfc:
      return normalize(text, NormalForm::nfc, out);
    case Kind::nfd:
      return normalize(text, NormalForm::nfd, out);
    case Kind::nfkc:
      return normalize(text, NormalForm::nfkc, out);
    case Kind::nfkd:
      return normalize(text, NormalForm::nfkd, out);
    case Kind::lowercase:
      out = small_letters(text);
      return true;
    case Kind::prepend:
      if (text.empty()) return false;
      out = step.content + std::string(text);
      return true;
    case Kind::replace:
      return replace_all(text, step.pattern.front(), step.content, out);
    case Kind::strip:
      out = std::string(stripped(text, step.left, step.right));
      return true;
  }
  return false;
}

std::string_view Normalizer::apply(std::string_view text, std::string& storage) const {
  std::string changed;
  for (const Step& step : steps_) {
    if (!run(step, text, changed)) continue;
    storage.swap(changed);
    text = storage;
  }
  return text;
}

}  // namespace ringtron
