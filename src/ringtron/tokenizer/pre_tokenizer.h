// Pre-tokenization, cuts text into the words inside which BPE merges: a scanner for GPT-2's pattern
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// The pattern matches every character, so the words are the text. Letters and numbers are those of
// Unicode 16.0 whatever the system's libraries know, so the ids do not depend on the machine. A byte that
// belongs to no valid UTF-8 character counts as a character that is neither letter, number nor space, and
// stays as it is.
#pragma once

#include <cstddef>
#include <string_view>

namespace ringtron {

// The number of bytes of the first word of `text`; at least 1. Requires: text is not empty, and begins where
// a word begins (at the start of the whole text or after the previous word).
std::size_t first_word_length(std::string_view text);

// Calls visit(std::string_view) on each word in order. The words together are `text`.
template <class Visitor>
void for_each_word(std::string_view text, Visitor&& visit) {
  while (!text.empty()) {
    const std::size_t length = first_word_length(text);
    visit(text.substr(0, length));
    text.remove_prefix(length);
  }
}

}  // namespace ringtron
