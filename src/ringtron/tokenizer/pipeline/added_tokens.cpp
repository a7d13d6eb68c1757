#include "ringtron/tokenizer/pipeline/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/tokenizer/pipeline/character_scanner.h"
#include "ringtron/tokenizer/pipeline/text_pattern.h"

namespace ringtron {
namespace {

unsigned char first_byte(const AddedToken& token) { return static_cast<unsigned char>(token.content[0]); }

// What the tokenizers library counts as part of a word.
bool is_word_character(const CharacterScanner& scanner, std::size_t i) {
  static const TextPattern pattern(fmt::format("[{}]", kWordCharacters), "added_tokens");
  return pattern.find(scanner.text().substr(i, scanner.at(i).length), 0).has_value();
}

std::size_t character_before(std::string_view text, std::size_t i) {
  do {
    --i;
  } while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80);
  return i;
}

bool stands_alone(const CharacterScanner& scanner, std::size_t begin, std::size_t end) {
  const bool word_before = begin > 0 && is_word_character(scanner, character_before(scanner.text(), begin));
  return !word_before && (scanner.at_end(end) || !is_word_character(scanner, end));
}

std::size_t spaces_begin(const CharacterScanner& scanner, std::size_t end, std::size_t least) {
  while (end > least) {
    const std::size_t before = character_before(scanner.text(), end);
    if (scanner.at(before).kind() != CharacterKind::space) break;
    end = before;
  }
  return std::max(end, least);
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
  for (const AddedToken& token : tokens_) ++first_of_byte_[first_byte(token) + 1];
  for (std::size_t byte = 0; byte < 256; ++byte) first_of_byte_[byte + 1] += first_of_byte_[byte];
}

// Narrows the sorted tokens down to those that begin as the text does, byte by byte.
const AddedToken* AddedTokens::longest_at(std::string_view text) const {
  const auto byte = static_cast<unsigned char>(text[0]);
  auto begin = tokens_.begin() + first_of_byte_[byte], end = tokens_.begin() + first_of_byte_[byte + 1];
  const AddedToken* found = nullptr;
  for (std::size_t depth = 1; begin != end; ++depth) {
    if (begin->content.size() == depth) found = &*begin++;
    while (begin != end && begin->content.size() == depth) ++begin;  // the same token twice
    if (depth == text.size()) break;
    const auto byte_at = [depth](const AddedToken& token) { return static_cast<unsigned char>(token.content[depth]); };
    const auto next = static_cast<unsigned char>(text[depth]);
    begin = std::partition_point(begin, end, [&](const AddedToken& token) { return byte_at(token) < next; });
    end = std::partition_point(begin, end, [&](const AddedToken& token) { return byte_at(token) <= next; });
  }
  return found;
}

// The first place from `i` on where a token may begin, or the end. Of most tokenizers all tokens begin with one byte.
std::size_t AddedTokens::next_candidate(std::string_view text, std::size_t i) const {
  if (tokens_.empty()) return text.size();
  if (tokens_.front().content[0] == tokens_.back().content[0])
    return std::min(text.find(tokens_[0].content[0], i), text.size());
  const auto may_begin = [this](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return first_of_byte_[byte] != first_of_byte_[byte + 1];
  };
  while (i < text.size() && !may_begin(text[i])) ++i;
  return i;
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::string_view text) const {
  std::vector<Piece> pieces;
  std::size_t done = 0;
  const CharacterScanner scanner(text);
  for (std::size_t i = next_candidate(text, 0); i < text.size(); i = next_candidate(text, i)) {
    const AddedToken* token = longest_at(text.substr(i));
    if (token == nullptr) {
      ++i;
      continue;
    }
    std::size_t begin = i, end = i + token->content.size();
    i = end;
    if (token->single_word && !stands_alone(scanner, begin, end)) continue;
    if (token->left_strip) begin = spaces_begin(scanner, begin, done);
    if (token->right_strip) end = scanner.run_end(end, CharacterKind::space);
    if (begin > done) pieces.push_back({done, begin, -1});
    pieces.push_back({begin, end, token->id});
    done = end;
    i = std::max(i, end);
  }
  if (done < text.size()) pieces.push_back({done, text.size(), -1});
  return pieces;
}

}  // namespace ringtron
