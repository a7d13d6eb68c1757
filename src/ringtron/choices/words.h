// The words of a choice: what a table of enumerators and words can be asked.
//
// A choice is an enum class with a Words<E> beside it, whose `table` has one row for each enumerator, in the order in
// which help names them. Nothing else in the tree holds a word of a choice.
#pragma once

#include <array>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string_view>

namespace ringtron {

template <class E>
struct Word {
  E value;
  std::string_view text;
};

template <class E>
struct Words {};

template <class E>
concept Choice = requires { Words<E>::table; };

// "RMSNorm" of Normalization::rms_norm.
template <Choice E>
constexpr std::string_view word_of(E value) {
  for (const Word<E>& row : Words<E>::table) {
    if (row.value == value) return row.text;
  }
  return {};
}

// Exact: "rmsnorm" is no word of Normalization.
template <Choice E>
constexpr std::optional<E> find_choice(std::string_view word) {
  for (const Word<E>& row : Words<E>::table) {
    if (row.text == word) return row.value;
  }
  return std::nullopt;
}

// All words, for messages and help.
template <Choice E>
inline constexpr auto kWordsOf = [] {
  std::array<std::string_view, std::size(Words<E>::table)> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = Words<E>::table[i].text;
  return words;
}();

}  // namespace ringtron
