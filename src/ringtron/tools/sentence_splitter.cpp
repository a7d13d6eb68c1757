#include "ringtron/tools/sentence_splitter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::array<std::string_view, 22> kAbbreviations = {"mr",  "mrs", "ms",  "dr",  "prof", "sr", "jr", "st",
                                                             "vs",  "etc", "e.g", "i.e", "cf",   "al", "no", "fig",
                                                             "vol", "pp",  "ed",  "gen", "col",  "inc"};
constexpr std::array<std::string_view, 3> kWideStops = {"\u3002", "\uff01", "\uff1f"};

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

// Whether the dot at `at` belongs to the word before it.
bool is_abbreviation(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  while (begin > 0 && !is_space(text[begin - 1]) && text[begin - 1] != '(') --begin;
  const std::string_view word = text.substr(begin, at - begin);
  if (word.size() == 1 && is_upper(word[0])) return true;
  return std::find(kAbbreviations.begin(), kAbbreviations.end(), lower(word)) != kAbbreviations.end();
}

// Past marks that may stand between the stop and the space.
std::size_t skip_closing(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    if (std::string_view(".!?\"')]}").find(text[at]) != std::string_view::npos) {
      ++at;
    } else if (text.substr(at).starts_with("\u201d") || text.substr(at).starts_with("\u2019")) {
      at += 3;
    } else {
      break;
    }
  }
  return at;
}

// Past white space; `empty_line` tells whether there was one.
std::size_t skip_space(std::string_view text, std::size_t at, bool& empty_line) {
  int newlines = 0;
  while (at < text.size() && is_space(text[at])) newlines += text[at++] == '\n' ? 1 : 0;
  empty_line = newlines >= 2;
  return at;
}

// Length of what ends a sentence at `at`, marks that close included; 0 if nothing does.
std::size_t stop_length(std::string_view text, std::size_t at) {
  for (const std::string_view stop : kWideStops) {
    if (text.substr(at).starts_with(stop)) return skip_closing(text, at + stop.size()) - at;
  }
  const char c = text[at];
  if (c != '.' && c != '!' && c != '?') return 0;
  const std::size_t end = skip_closing(text, at + 1);
  if (end < text.size() && !is_space(text[end])) return 0;
  bool empty_line = false;
  const std::size_t next = skip_space(text, end, empty_line);
  if (next < text.size() && !empty_line && is_lower(text[next])) return 0;
  return c == '.' && end == at + 1 && is_abbreviation(text, at) ? 0 : end - at;
}

}  // namespace

std::vector<std::string_view> split_sentences(std::string_view text, bool keep_newlines) {
  std::vector<std::string_view> sentences;
  std::size_t begin = 0;
  const auto cut = [&](std::size_t end) {
    const std::string_view piece = text.substr(begin, end - begin);
    const std::string_view kept = keep_newlines ? piece : trim(piece);
    if (!kept.empty()) sentences.push_back(kept);
    begin = end;
  };
  bool empty_line = false;
  for (std::size_t at = 0; at < text.size();) {
    if (is_space(text[at])) {
      at = skip_space(text, at, empty_line);
      if (empty_line) cut(at);
    } else if (const std::size_t length = stop_length(text, at); length > 0) {
      at = skip_space(text, at + length, empty_line);
      cut(at);
    } else {
      ++at;
    }
  }
  cut(text.size());
  return sentences;
}

}  // namespace ringtron
