#include "ringtron/tools/document_encoder.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/tools/sentence_splitter.h"

namespace ringtron {

struct DocumentEncoder::Parser {
  simdjson::dom::parser json;
};

DocumentEncoder::DocumentEncoder(const Tokenizer& tokenizer, EncoderOptions options)
    : tokenizer_(tokenizer), options_(std::move(options)), parser_(std::make_unique<Parser>()) {}

DocumentEncoder::~DocumentEncoder() = default;

EncodedText DocumentEncoder::encode_text(std::string_view text) const {
  EncodedText sequences;
  const auto add = [&](std::string_view piece) {
    std::vector<std::int32_t> ids = tokenizer_.encode(piece);
    if (!ids.empty()) sequences.push_back(std::move(ids));
  };
  if (options_.split_sentences) {
    for (const std::string_view sentence : split_sentences(text, options_.keep_newlines)) add(sentence);
  } else {
    add(text);
  }
  if (options_.append_eod && !sequences.empty()) sequences.back().push_back(tokenizer_.eod());
  return sequences;
}

EncodedDocument DocumentEncoder::encode(const RawDocument& document) {
  const std::string place =
      document.line > 0 ? fmt::format("{}:{}", document.file, document.line) : document.file;
  EncodedDocument encoded;
  try {
    if (document.line == 0) {
      encoded.texts.assign(options_.json_keys.size(), encode_text(document.text));
      return encoded;
    }
    simdjson::dom::object object;
    if (const auto error = parser_->json.parse(document.text).get(object); error != simdjson::SUCCESS) {
      const bool other = error == simdjson::INCORRECT_TYPE;
      encoded.fault = fmt::format("{}: expected a JSON object, got {}", place,
                                  other ? "JSON of another type" : simdjson::error_message(error));
      return encoded;
    }
    for (const std::string& key : options_.json_keys) {
      std::string_view text;
      const auto error = object.at_key(key).get(text);
      if (error != simdjson::SUCCESS) {
        encoded.fault = fmt::format("{}: expected text under the key \"{}\", which is {}", place, key,
                                    error == simdjson::NO_SUCH_FIELD ? "missing" : "not a string");
        encoded.texts.clear();
        return encoded;
      }
      encoded.texts.push_back(encode_text(text));
    }
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", place, error.what()));
  }
  return encoded;
}

}  // namespace ringtron
