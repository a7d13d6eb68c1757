#include "ringtron/tools/document_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/tools/sentence_splitter.h"

namespace ringtron {

DocumentEncoder::DocumentEncoder(const Tokenizer& tokenizer, EncoderOptions options)
    : tokenizer_(tokenizer), options_(std::move(options)), json_(options_.json_keys) {}

EncodedText DocumentEncoder::encode_texts(std::span<const std::string> texts, bool split, bool ends) {
  EncodedText sequences;
  const auto add = [&](std::string_view piece) {
    std::vector<std::int32_t> ids = tokenizer_.encode(piece);
    if (ids.empty()) return;
    eod_inside_ |= std::find(ids.begin(), ids.end(), tokenizer_.eod()) != ids.end();
    sequences.push_back(std::move(ids));
  };
  for (const std::string& text : texts) {
    if (split) {
      for (const std::string_view sentence : split_sentences(text, options_.keep_newlines)) add(sentence);
    } else {
      add(text);
    }
  }
  if (options_.append_eod && ends && !sequences.empty()) sequences.back().push_back(tokenizer_.eod());
  return sequences;
}

EncodedDocument DocumentEncoder::encode(const RawDocument& document) {
  EncodedDocument encoded;
  encoded.continues = document.continues;
  eod_inside_ = false;
  try {
    if (document.line == 0) {
      encoded.texts.push_back(
          encode_texts(std::span(&document.text, 1), options_.split_sentences, !document.continues));
    } else if (!document.fault.empty() || !json_.read(document.text)) {
      encoded.fault =
          fmt::format("{}: {}", place_of(document), document.fault.empty() ? json_.fault() : document.fault);
    } else {
      for (std::size_t key = 0; key < options_.json_keys.size(); ++key) {
        const bool split = options_.split_sentences && !json_.is_list(key);  // a list is split already
        encoded.texts.push_back(encode_texts(json_.texts(key), split, true));
      }
      encoded.lone_surrogates = json_.lone_surrogates();
    }
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", place_of(document), error.what()));
  }
  encoded.eod_inside = eod_inside_;
  return encoded;
}

}  // namespace ringtron
