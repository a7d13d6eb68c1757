#include "ringtron/tokenizer/pipeline/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <new>
#include <vector>

#include "ringtron/tokenizer/pipeline/utf8.h"
#include "ringtron/tokenizer/unicode_ranges.h"

namespace ringtron {
namespace {

constexpr char32_t kEnd = 0x110000;
constexpr char32_t kFirstComposing = 0x300;  // below it no character changes or joins the one before
constexpr char32_t kFirstVowel = 0x1161, kLastVowel = 0x1175, kFirstTail = 0x11A7, kLastTail = 0x11C2;  // Hangul

// What the tokenizers library (0.23), whose tables of normal forms are of Unicode 9.0, leaves alone: characters that
// came later, of those that a form changes or puts in another order.
constexpr CodePointRange kLeftAlone[] = {
    {0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x105c9, 0x105c9},
    {0x105e4, 0x105e4}, {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27},
    {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11383, 0x11383}, {0x11385, 0x11385}, {0x1138e, 0x1138e},
    {0x11391, 0x11391}, {0x113c5, 0x113c5}, {0x113c7, 0x113c8}, {0x113ce, 0x113d0}, {0x1145e, 0x1145e},
    {0x11839, 0x1183a}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16121, 0x16128}, {0x1612f, 0x1612f}, {0x16d68, 0x16d6a},
    {0x16ff0, 0x16ff1}, {0x1ccd6, 0x1ccf9}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}, {0x1f16c, 0x1f16c},
    {0x1fbf0, 0x1fbf9}};

bool is_left_alone(char32_t c) {
  if (c < kLeftAlone[0].first) return false;
  const auto after = std::upper_bound(std::begin(kLeftAlone), std::end(kLeftAlone), c,
                                      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return c <= std::prev(after)->last;
}

int options_of(NormalForm form) {
  const int compatible = form == NormalForm::nfkc || form == NormalForm::nfkd ? UTF8PROC_COMPAT : 0;
  const bool composed = form == NormalForm::nfc || form == NormalForm::nfkc;
  return UTF8PROC_STABLE | compatible | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
}

std::string mapped_whole(std::string_view text, NormalForm form) {
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &raw, static_cast<utf8proc_option_t>(options_of(form)));
  if (length < 0) throw std::bad_alloc();  // its other errors are of text that is no UTF-8
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(raw, &std::free);
  return {reinterpret_cast<const char*>(raw), static_cast<std::size_t>(length)};
}

std::string mapped(std::string_view text, NormalForm form) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = i + utf8_length(text[i]);
    if (is_left_alone(utf8_code_point(text, i))) {
      (out += mapped_whole(text.substr(begin, i - begin), form)) += text.substr(i, end - i);
      begin = end;
    }
    i = end;
  }
  return out += mapped_whole(text.substr(begin), form);
}

// Whether NFC leaves a character alone and never joins it to what stands before: text may be cut there.
std::vector<bool> make_safe_table() {
  std::vector<bool> safe(kEnd, true);
  utf8proc_int32_t parts[8];
  for (char32_t c = kFirstComposing; c < kEnd; ++c) {
    if (is_left_alone(c)) continue;
    const auto* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
    if (property->combining_class != 0) safe[c] = false;
    if ((c >= kFirstVowel && c <= kLastVowel) || (c >= kFirstTail && c <= kLastTail)) safe[c] = false;
    if (property->decomp_seqindex == UINT16_MAX || property->decomp_type != 0) continue;
    // Its parts behind the first join what stands before them; itself it may be another character in NFC.
    int boundary = 0;
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8, UTF8PROC_DECOMPOSE, &boundary);
    for (int i = 1; i < count; ++i) safe[parts[i]] = false;
    std::string own;
    append_utf8(c, own);
    if (mapped(own, NormalForm::nfc) != own) safe[c] = false;
  }
  return safe;
}

bool is_safe(char32_t c) {
  static const std::vector<bool> safe = make_safe_table();
  return c < kFirstComposing || safe[c];
}

// NFC: only stretches from the character before an unsafe one to the next safe one are mapped.
bool compose(std::string_view text, std::string& out) {
  std::string changed;
  std::size_t copied = 0, before = 0;  // where the character before begins
  bool any = false;
  for (std::size_t i = 0; i < text.size();) {
    if (static_cast<signed char>(text[i]) >= 0 || is_safe(utf8_code_point(text, i))) {
      before = i;
      i += utf8_length(text[i]);
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && !is_safe(utf8_code_point(text, end))) end += utf8_length(text[end]);
    const std::string_view stretch = text.substr(before, end - before);
    const std::string composed = mapped(stretch, NormalForm::nfc);
    if (composed != stretch) {
      any = true;
      (changed += text.substr(copied, before - copied)) += composed;
      copied = end;
    }
    before = i = end;
  }
  if (!any) return false;
  out = std::move(changed += text.substr(copied));
  return true;
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<signed char>(c) < 0) return false;
  }
  return true;
}

}  // namespace

bool normalize(std::string_view text, NormalForm form, std::string& out) {
  if (form == NormalForm::nfc) return compose(text, out);
  if (is_ascii(text)) return false;
  std::string result = mapped(text, form);
  if (result == text) return false;
  out = std::move(result);
  return true;
}

std::string normalized(std::string_view text, NormalForm form) {
  std::string out;
  return normalize(text, form, out) ? out : std::string(text);
}

std::string small_letters(std::string_view text) {
  constexpr char32_t kCapitalIWithDot = 0x130;  // the one whose small form is two characters, i and a dot above
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); i += utf8_length(text[i])) {
    const char32_t c = utf8_code_point(text, i);
    if (c == kCapitalIWithDot) {
      out += "i\xCC\x87";
    } else {
      append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
    }
  }
  return out;
}

}  // namespace ringtron
