// Text of one document -> tokens, for each key: parses JSON, splits sentences, encodes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ringtron/tokenizer/tokenizer.h"
#include "ringtron/tools/document_source.h"
#include "ringtron/tools/json_line.h"

namespace ringtron {

struct EncoderOptions {
  std::vector<std::string> json_keys = {"text"};
  bool append_eod = false;
  bool split_sentences = false;
  bool keep_newlines = false;
};

// The sequences of one document under one key: one for a text, one for each sentence that is not empty of a list or
// with split_sentences. No sequence: the document is empty.
using EncodedText = std::vector<std::vector<std::int32_t>>;

struct EncodedDocument {
  std::vector<EncodedText> texts;  // one for each key
  std::string fault;               // "file:line: why"; then `texts` is empty
  bool continues = false;          // the next document is the next part of this one's sequence
  bool eod_inside = false;         // the end-of-document token stands in its text
  std::int64_t lone_surrogates = 0;
};

// One for each thread; the tokenizer is shared.
class DocumentEncoder {
 public:
  DocumentEncoder(const Tokenizer& tokenizer, EncoderOptions options);

  // Throws ConfigError, with file and line, for text that the tokenizer cannot express.
  EncodedDocument encode(const RawDocument& document);

 private:
  EncodedText encode_texts(std::span<const std::string> texts, bool split, bool ends);

  const Tokenizer& tokenizer_;
  const EncoderOptions options_;
  JsonLine json_;
  bool eod_inside_ = false;
};

}  // namespace ringtron
