// Text of one document -> tokens, for each key: parses JSON, splits sentences, encodes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/tokenizer/tokenizer.h"
#include "ringtron/tools/document_source.h"

namespace ringtron {

struct EncoderOptions {
  std::vector<std::string> json_keys = {"text"};
  bool append_eod = false;
  bool split_sentences = false;
  bool keep_newlines = false;
};

// The sequences of one document under one key. No sequence: the document is empty.
using EncodedText = std::vector<std::vector<std::int32_t>>;

struct EncodedDocument {
  std::vector<EncodedText> texts;  // one for each key
  std::string fault;               // "file:line: why"; then `texts` is empty
};

// One for each thread; the tokenizer is shared.
class DocumentEncoder {
 public:
  DocumentEncoder(const Tokenizer& tokenizer, EncoderOptions options);
  ~DocumentEncoder();

  // Throws ConfigError, with file and line, for text that the tokenizer cannot express.
  EncodedDocument encode(const RawDocument& document);

 private:
  struct Parser;
  EncodedText encode_text(std::string_view text) const;

  const Tokenizer& tokenizer_;
  const EncoderOptions options_;
  std::unique_ptr<Parser> parser_;
};

}  // namespace ringtron
