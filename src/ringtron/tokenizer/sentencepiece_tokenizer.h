// Tokenizers whose vocabulary and rules are a SentencePiece model file: Megatron-LM's SentencePieceTokenizer,
// GPTSentencePieceTokenizer and Llama2Tokenizer, with its ids. The text is taken apart by the sentencepiece library.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/tokenizer/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace ringtron {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  // type: sentencepiece, gpt_sentencepiece or llama2.
  //   sentencepiece      <CLS>, <SEP>, <EOD>, <MASK>, the model's padding, begin and end (<PAD>, <BOS>, <EOS> where it
  //   has
  //                      none) and `extra_ids` pieces <extra_id_0> ... are special: where they stand in the text they
  //                      are one id each. What of them the model lacks follows its own ids. eod() is <EOD>.
  //   gpt_sentencepiece  the model as it is. eod() is its end.
  //   llama2             the same, but each encode() begins with the model's begin.
  // Throws ConfigError: the file is missing or no SentencePiece model; the model has no end, or no begin for llama2.
  SentencePieceTokenizer(TokenizerType type, const std::filesystem::path& model, std::int64_t extra_ids);
  ~SentencePieceTokenizer() override;

  // Bytes that are no UTF-8 are what the library makes of them, U+FFFD each.
  std::vector<std::int32_t> encode(std::string_view text) const override;
  // A special id is its piece with a space on either side, as in Megatron-LM.
  std::string decode(std::span<const std::int32_t> ids) const override;
  // Words of the library reach over spaces, and each text begins anew.
  bool takes_parts() const override { return false; }
  std::int64_t vocab_size() const override { return vocab_size_; }
  std::int32_t eod() const override { return eod_; }
  std::string description() const override;

 private:
  void add_special(const std::string& piece);
  void append(std::string_view text, std::vector<std::int32_t>& ids) const;
  std::string decoded(std::span<const std::int32_t> ids) const;

  TokenizerType type_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> model_;
  std::map<std::string, std::int32_t, std::less<>> special_;  // sentencepiece alone
  std::map<std::int32_t, std::string> special_pieces_;
  std::vector<std::string> in_order_;  // of the special ones: the earlier counts where two begin at one place
  std::int64_t vocab_size_ = 0;
  std::int32_t begin_ = -1, eod_ = -1;
  std::uint64_t content_ = 0;  // hash of the file
  std::int64_t extra_ids_ = 0;
};

}  // namespace ringtron
