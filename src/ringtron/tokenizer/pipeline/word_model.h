// What makes the ids of one word: the `model` of a tokenizer.json.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ringtron/tokenizer/pipeline/json_part.h"

namespace ringtron {

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const;
};
using TokenIds = std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>>;

// Immutable, so any number of threads may share it.
class WordModel {
 public:
  virtual ~WordModel() = default;

  // Appends the ids of a word, perhaps none. Requires: not empty; valid UTF-8 unless the model is byte-level.
  virtual void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const = 0;

  // As the file writes them.
  const TokenIds& vocabulary() const { return vocabulary_; }

 protected:
  explicit WordModel(TokenIds vocabulary) : vocabulary_(std::move(vocabulary)) {}

  // The ids of the tokens <0x00> and so on of all bytes of `text`; empty if one is missing.
  std::vector<std::int32_t> byte_tokens(std::string_view text) const;

 private:
  TokenIds vocabulary_;
};

// byte_level: the vocabulary is in GPT-2's byte alphabet, and words are bytes. Throws ConfigError on a kind that is not
// built, a part that is missing or wrong, or merges of tokens that the vocabulary lacks.
std::unique_ptr<WordModel> make_word_model(const JsonPart& json, bool byte_level);

std::unique_ptr<WordModel> make_bpe_model(const JsonPart& json, bool byte_level);
std::unique_ptr<WordModel> make_unigram_model(const JsonPart& json, bool byte_level);

}  // namespace ringtron
