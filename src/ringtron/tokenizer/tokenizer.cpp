#include "ringtron/tokenizer/tokenizer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/tokenizer/gpt2_bpe.h"
#include "ringtron/tokenizer/hugging_face_tokenizer.h"
#include "ringtron/tokenizer/null_tokenizer.h"
#include "ringtron/tokenizer/sentencepiece_tokenizer.h"
#include "ringtron/tokenizer/tiktoken_tokenizer.h"

namespace ringtron {

TokenizerType tokenizer_type(std::string_view word) {
  if (const auto found = find_choice<TokenizerType>(word)) return *found;
  throw ConfigError(
      fmt::format("--tokenizer-type {}: expected {}; other tokenizers of "
                  "Megatron are not there yet",
                  word.empty() ? "is empty" : excerpt(word), fmt::join(kWordsOf<TokenizerType>, ", ")));
}

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options) {
  if (options.type == TokenizerType::gpt2_bpe) {
    if (options.vocab_file.empty() || options.merge_file.empty()) {
      throw ConfigError(
          fmt::format("GPT2BPETokenizer needs --vocab-file and --merge-file, but {} given. Pass the vocab.json and "
                      "merges.txt of GPT-2, or make your own with train_tokenizer",
                      options.vocab_file.empty() && options.merge_file.empty() ? "neither was"
                      : options.vocab_file.empty()                             ? "only --merge-file was"
                                                                               : "only --vocab-file was"));
    }
    return std::make_unique<Gpt2BpeTokenizer>(read_gpt2_vocab_files(options.vocab_file, options.merge_file));
  }
  if (has_sentencepiece_model(options.type)) {
    if (options.model_file.empty()) {
      throw ConfigError(fmt::format("{} needs --tokenizer-model, but none was given. Pass the tokenizer.model file",
                                    word_of(options.type)));
    }
    return std::make_unique<SentencePieceTokenizer>(options.type, options.model_file, options.extra_ids);
  }
  if (needs_tokenizer_model(options.type) && options.model_file.empty()) {
    throw ConfigError(fmt::format("{} needs --tokenizer-model, but none was given", word_of(options.type)));
  }
  if (options.type == TokenizerType::hugging_face) {
    return std::make_unique<HuggingFaceTokenizer>(options.model_file, options.special_ids, options.special_tokens);
  }
  if (options.type == TokenizerType::tiktoken) {
    return std::make_unique<TikTokenTokenizer>(options.model_file,
                                               TikTokenOptions{.pattern = options.tiktoken_pattern,
                                                               .vocab_size = options.vocab_size,
                                                               .special_count = options.tiktoken_special_count,
                                                               .special_tokens = options.special_tokens});
  }
  return std::make_unique<NullTokenizer>(options.vocab_size);
}

}  // namespace ringtron
