// The tokenizer for data that already is token ids: text is integers separated by spaces, "17 4 250".
#pragma once

#include "ringtron/tokenizer/tokenizer.h"

namespace ringtron {

// Ids 0 .. vocab_size-1, of which the last is the end of a document.
class NullTokenizer final : public Tokenizer {
 public:
  // Throws ConfigError unless 1 <= vocab_size <= 2^31-1.
  explicit NullTokenizer(std::int64_t vocab_size);

  // Throws ConfigError on a word that is not an integer or not an id. Any ASCII white space separates.
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocab_size() const override { return vocab_size_; }
  std::int32_t eod() const override { return static_cast<std::int32_t>(vocab_size_ - 1); }
  std::string description() const override;

 private:
  std::int64_t vocab_size_;
};

}  // namespace ringtron
