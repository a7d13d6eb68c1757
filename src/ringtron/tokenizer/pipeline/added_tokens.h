// Tokens that are found in the text itself, before it is cut into words: <|endoftext|> and the like.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool single_word = false;                      // only where no letter, digit or _ is beside it
  bool left_strip = false, right_strip = false;  // with the white space before, behind
  bool normalized = true;                        // found after the normalizer has run
};

// Finds the leftmost token, of several there the longest. Immutable after construction.
class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  struct Piece {
    std::size_t begin, end;
    std::int32_t id;  // of a token; -1 for text between tokens
  };
  // The pieces of `text`, which together are the text; those of text are not empty. Requires: valid UTF-8.
  std::vector<Piece> split(std::string_view text) const;

 private:
  std::size_t next_candidate(std::string_view text, std::size_t i) const;
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;                     // sorted by content
  std::array<std::uint32_t, 257> first_of_byte_ = {};  // tokens_ of each first byte begin here
};

}  // namespace ringtron
