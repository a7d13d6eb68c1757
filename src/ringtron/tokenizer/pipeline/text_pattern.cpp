#define PCRE2_CODE_UNIT_WIDTH 8
#include "ringtron/tokenizer/pipeline/text_pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

// White space as Unicode and the tokenizers' engines have it: PCRE2's own \s also takes U+180E.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{D}\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

std::string with_unicode_spaces(std::string_view expression) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char next = expression[++i];
      if (next == 's') {
        out += in_class ? std::string(kSpaces) : fmt::format("[{}]", kSpaces);
      } else if (next == 'S' && !in_class) {
        out += fmt::format("[^{}]", kSpaces);
      } else {
        (out += c) += next;
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text = {};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

TextPattern::TextPattern(const std::string& expression, const std::string& where) : text_(expression) {
  const std::string own = with_unicode_spaces(expression);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(own.data()), own.size(), PCRE2_UTF | PCRE2_UCP, &error,
                                   &offset, nullptr);
  if (code == nullptr) {
    throw ConfigError(fmt::format("{}: PCRE2 cannot read the pattern '{}' ({}, at byte {} of it)", where,
                                  excerpt(expression, 200), message_of(error), offset));
  }
  code_ = std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it cannot, matching is slower, not different
}

TextPattern TextPattern::literal(const std::string& text) {
  TextPattern pattern;
  pattern.text_ = text;
  return pattern;
}

std::optional<std::pair<std::size_t, std::size_t>> TextPattern::find(std::string_view text, std::size_t begin) const {
  if (code_ == nullptr) {
    const std::size_t at = text_.empty() ? std::string_view::npos : text.find(text_, begin);
    if (at == std::string_view::npos) return std::nullopt;
    return std::pair{at, at + text_.size()};
  }
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code, nullptr), &pcre2_match_data_free);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  constexpr std::uint32_t kOptions = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  int found = pcre2_match(code, subject, text.size(), begin, kOptions, match.get(), nullptr);
  // The stack of the compiled code is small; the interpreter has all memory that its limits allow.
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
    found = pcre2_match(code, subject, text.size(), begin, kOptions | PCRE2_NO_JIT, match.get(), nullptr);
  }
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0) {
    throw ConfigError(fmt::format("the pattern '{}' fails on a text of {} bytes: {}", excerpt(text_, 200), text.size(),
                                  message_of(found)));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match.get());
  return std::pair{static_cast<std::size_t>(ends[0]), static_cast<std::size_t>(ends[1])};
}

}  // namespace ringtron
