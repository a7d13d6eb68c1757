// Splits text into sentences by a few rules; ours, not NLTK's, so boundaries differ from Megatron's in
// places.
#pragma once

#include <string_view>
#include <vector>

namespace ringtron {

// A sentence ends after . ! or ? (and quotes or brackets that close) where white space and no lower-case
// letter follow, unless a known abbreviation or a single initial stands before the dot; after the Chinese and
// Japanese full stops; and at an empty line. White space between sentences is dropped, or kept at the end of
// each with `keep_newlines`; then the pieces joined give the text.
std::vector<std::string_view> split_sentences(std::string_view text, bool keep_newlines);

}  // namespace ringtron
