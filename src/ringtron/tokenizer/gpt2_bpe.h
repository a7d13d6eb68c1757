// GPT-2's byte-level BPE: cut into words (pre_tokenizer.h), then merge each word's bytes (bpe_merger.h).
//
// Takes any bytes, and decode(encode(text)) == text for all of them. On valid UTF-8 the ids are GPT-2's;
// bytes that are not are kept, where GPT-2's own program would have replaced them before it saw them.
#pragma once

#include "ringtron/tokenizer/bpe_merger.h"
#include "ringtron/tokenizer/gpt2_vocab_files.h"
#include "ringtron/tokenizer/pipeline/word_caches.h"
#include "ringtron/tokenizer/tokenizer.h"

namespace ringtron {

class Gpt2BpeTokenizer final : public Tokenizer {
 public:
  explicit Gpt2BpeTokenizer(BpeModel model);

  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(model_.tokens.size()); }
  std::int32_t eod() const override { return model_.end_of_text; }
  std::string description() const override { return description_; }

 private:
  BpeModel model_;
  BpeMerger merger_;
  std::string description_;
  mutable WordCaches caches_;
};

}  // namespace ringtron
