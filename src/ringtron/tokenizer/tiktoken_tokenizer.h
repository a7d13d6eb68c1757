// Megatron-LM's TikTokenizer: a vocabulary of tiktoken behind special tokens, with the ids of both.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "ringtron/tokenizer/pipeline/added_tokens.h"
#include "ringtron/tokenizer/pipeline/tiktoken_vocabulary.h"
#include "ringtron/tokenizer/pipeline/word_caches.h"
#include "ringtron/tokenizer/pipeline/word_rules.h"
#include "ringtron/tokenizer/tokenizer.h"

namespace ringtron {

struct TikTokenOptions {
  TikTokenPattern pattern = TikTokenPattern::v2;
  std::int64_t vocab_size = 0;                   // the special tokens included; 0: 131072
  std::int64_t special_count = 1000;             // the first ids; those without a name are <SPECIAL_N>
  std::vector<std::string> special_tokens = {};  // their names; none: <unk> <s> </s> <mask> <pad> <cls> <sep>
};

inline constexpr std::int64_t kTikTokenVocabulary = 131072;

class TikTokenTokenizer final : public Tokenizer {
 public:
  // Throws ConfigError: what read_tiktoken_file throws; special tokens that come twice, are more than special_count or
  // lack one of the usual seven; a vocabulary of fewer than vocab_size - special_count tokens.
  TikTokenTokenizer(const std::filesystem::path& file, const TikTokenOptions& options);

  // Special tokens in the text are one id each. A byte that is no UTF-8 is U+FFFD.
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  bool takes_parts() const override { return false; }
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(token_of_id_.size()); }
  std::int32_t eod() const override { return end_; }
  std::string description() const override { return description_; }

 private:
  std::vector<std::string> token_of_id_;
  AddedTokens special_;
  WordRules rules_;
  std::unique_ptr<TikTokenModel> model_;
  std::int32_t end_ = 0;
  std::string description_;
  mutable WordCaches caches_;
};

}  // namespace ringtron
