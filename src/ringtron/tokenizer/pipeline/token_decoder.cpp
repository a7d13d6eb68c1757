#include "ringtron/tokenizer/pipeline/token_decoder.h"

#include <charconv>
#include <optional>

#include "ringtron/base/text.h"
#include "ringtron/tokenizer/byte_to_unicode.h"
#include "ringtron/tokenizer/pipeline/utf8.h"

namespace ringtron {
namespace {

constexpr const char kBuilt[] = "ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence";

std::string replaced(const std::string& text, const TextPattern& pattern, const std::string& content) {
  std::string out;
  std::size_t copied = 0;
  while (const auto match = pattern.find(text, copied)) {
    out.append(text, copied, match->first - copied) += content;
    copied = match->second;
  }
  return out.append(text, copied);
}

// The byte of <0xNN>.
std::optional<char> byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

// Bytes side by side are one piece of text; U+FFFD each if together they are no UTF-8.
std::vector<std::string> without_byte_tokens(const std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    std::string ignored;
    if (valid_utf8(bytes, ignored).data() == bytes.data()) {
      out.push_back(bytes);
    } else {
      for (std::size_t i = 0; i < bytes.size(); ++i) out.emplace_back("\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (const std::string& token : tokens) {
    if (const auto byte = byte_of(token)) {
      bytes += *byte;
    } else {
      flush();
      out.push_back(token);
    }
  }
  flush();
  return out;
}

// Without up to `start` of `content` at the beginning and `stop` at the end.
std::string stripped(std::string_view text, std::string_view content, std::int64_t start, std::int64_t stop) {
  if (content.empty()) return std::string(text);
  for (std::int64_t i = 0; i < start && text.starts_with(content); ++i) text.remove_prefix(content.size());
  for (std::int64_t i = 0; i < stop && text.ends_with(content); ++i) text.remove_suffix(content.size());
  return std::string(text);
}

std::string without_marks(const std::string& token, const std::string& mark, bool drop) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = token.find(mark); at != std::string::npos; at = token.find(mark, done)) {
    out.append(token, done, at - done) += drop ? "" : " ";
    done = at + mark.size();
  }
  return out.append(token, done);
}

}  // namespace

TokenDecoder::TokenDecoder(const JsonPart& json) : spaces_between_(false) { add(json); }

TokenDecoder TokenDecoder::joined() {
  TokenDecoder decoder;
  decoder.spaces_between_ = false;
  return decoder;
}

void TokenDecoder::add(const JsonPart& json) {
  const std::string type = json.text("type");
  if (type == "Sequence") {
    for (const JsonPart& part : json.items("decoders")) add(part);
  } else if (type == "ByteLevel") {
    steps_.push_back({Kind::byte_level});
  } else if (type == "Replace") {
    const std::string text = json.at("pattern").text("String");
    steps_.push_back({Kind::replace, json.text("content"), {TextPattern::literal(text)}});
  } else if (type == "ByteFallback") {
    steps_.push_back({Kind::byte_fallback});
  } else if (type == "Fuse") {
    steps_.push_back({Kind::fuse});
  } else if (type == "Strip") {
    steps_.push_back({.kind = Kind::strip,
                      .content = json.text("content"),
                      .start = json.number_or("start", 0),
                      .stop = json.number_or("stop", 0)});
  } else if (type == "Metaspace") {
    const std::string mark = json.text("replacement");
    if (mark.empty()) json.at("replacement").refuse("expected one character");
    const std::string scheme =
        json.text_or("prepend_scheme", json.flag_or("add_prefix_space", true) ? "always" : "never");
    steps_.push_back({.kind = Kind::metaspace, .content = mark, .first_loses_mark = scheme != "never"});
  } else {
    json.refuse_kind(kBuilt);
  }
}

void TokenDecoder::run(const Step& step, std::vector<std::string>& tokens) {
  if (step.kind == Kind::byte_fallback) {
    tokens = without_byte_tokens(tokens);
    return;
  }
  if (step.kind == Kind::fuse) {
    tokens = {join(tokens, "")};
    return;
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (step.kind == Kind::byte_level) {
      token = bytes_from_printable(token).value_or(token);
    } else if (step.kind == Kind::replace) {
      token = replaced(token, step.pattern.front(), step.content);
    } else if (step.kind == Kind::strip) {
      token = stripped(token, step.content, step.start, step.stop);
    } else {
      token = without_marks(token, step.content, i == 0 && step.first_loses_mark);
    }
  }
}

std::string TokenDecoder::text(std::vector<std::string> tokens) const {
  for (const Step& step : steps_) run(step, tokens);
  return join(tokens, spaces_between_ ? " " : "");
}

}  // namespace ringtron
