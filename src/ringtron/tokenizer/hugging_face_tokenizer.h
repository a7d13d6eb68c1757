// Tokenizers of the Hugging Face hub, from their tokenizer.json: Megatron-LM's HuggingFaceTokenizer, with the ids of
// the `tokenizers` library.
//
//   text -> special tokens taken out -> normalizer -> words (word_splitter.h) -> ids (word_model.h)
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "ringtron/tokenizer/pipeline/tokenizer_json.h"
#include "ringtron/tokenizer/pipeline/word_caches.h"
#include "ringtron/tokenizer/tokenizer.h"

namespace ringtron {

class HuggingFaceTokenizer final : public Tokenizer {
 public:
  // A folder or a tokenizer.json (tokenizer_json.h, which says what throws). `special_ids`: each text begins and ends
  // with the ids that the file's post_processor adds, as transformers' tokenizer(text) does. `further_special`: special
  // tokens behind those of the files.
  HuggingFaceTokenizer(const std::filesystem::path& path, bool special_ids,
                       const std::vector<std::string>& further_special = {});

  // Special tokens in the text are one id each. A byte that is no UTF-8 is U+FFFD.
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  // Each text begins anew, and words are not those of pre_tokenizer.h.
  bool takes_parts() const override { return false; }
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(token_of_id_.size()); }
  std::int32_t eod() const override { return parts_.end_of_text; }
  std::string description() const override;

 private:
  void append_normalized(std::string_view text, bool at_start, WordCache& cache, std::vector<std::int32_t>& ids) const;
  void append_words(std::string_view text, bool at_start, WordCache& cache, std::vector<std::int32_t>& ids) const;

  TokenizerParts parts_;
  AddedTokens raw_, normalized_;  // the added tokens that are found before the normalizer, and after it
  bool special_ids_;
  std::vector<std::string> token_of_id_;  // as the file writes it
  mutable WordCaches caches_;
};

}  // namespace ringtron
