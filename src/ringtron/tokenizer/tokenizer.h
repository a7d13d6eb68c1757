// Text to token ids and back.
//
//   auto tokenizer = make_tokenizer({.type = TokenizerType::gpt2_bpe, .vocab_file = ..., .merge_file = ...});
//   std::vector<std::int32_t> ids = tokenizer->encode("Hello world");
//
// Ids are 0 .. vocab_size()-1. eod() is the id that separates documents; the program that writes documents
// appends it. The text "<|endoftext|>" is ordinary text to GPT2BPETokenizer's encode(), a token to
// HuggingFaceTokenizer's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/choices/choices.h"

namespace ringtron {

// Every method may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Throws ConfigError if `text` cannot be expressed in this vocabulary (a byte-level tokenizer takes any
  // bytes).
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;

  // The text of `ids`; undoes encode(). Throws ConfigError on an id outside 0..vocab_size()-1.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;

  // Whether the ids of a text are those of its parts, cut between words as pre_tokenizer.h does: then a long text need
  // not be in memory as a whole.
  virtual bool takes_parts() const { return true; }

  virtual std::int64_t vocab_size() const = 0;
  virtual std::int32_t eod() const = 0;

  // Equal if and only if the ids of all texts are equal: kind and content of the vocabulary, not the names of
  // its files. For keys of caches.
  virtual std::string description() const = 0;
};

struct TokenizerOptions {
  TokenizerType type = TokenizerType::gpt2_bpe;
  std::filesystem::path vocab_file = {};  // gpt2_bpe: vocab.json
  std::filesystem::path merge_file = {};  // gpt2_bpe: merges.txt
  std::int64_t vocab_size = 0;            // null; tiktoken, 0: its default. The files of the others say their own
  std::filesystem::path model_file = {};  // sentencepiece, gpt_sentencepiece, llama2: tokenizer.model; tiktoken; the
                                          // folder or tokenizer.json of hugging_face
  std::int64_t extra_ids = 0;             // sentencepiece: --vocab-extra-ids
  TikTokenPattern tiktoken_pattern = TikTokenPattern::v2;
  std::int64_t tiktoken_special_count = 1000;    // --tiktoken-num-special-tokens
  std::vector<std::string> special_tokens = {};  // tiktoken: names of the first ids; hugging_face: further ones
  bool special_ids = true;                       // hugging_face: each text begins and ends as the file says
};

// A word of --tokenizer-type. Throws ConfigError for any other.
TokenizerType tokenizer_type(std::string_view word);

// Throws ConfigError: missing option or file, files that are damaged or do not belong together.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options);

}  // namespace ringtron
