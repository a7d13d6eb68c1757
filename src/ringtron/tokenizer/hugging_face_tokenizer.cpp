#include "ringtron/tokenizer/hugging_face_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/tokenizer/pipeline/utf8.h"

namespace ringtron {
namespace {

// Of a damaged file, ids may be anything: memory grows with the largest.
constexpr std::int32_t kLargestId = 1 << 22;

AddedTokens tokens_found(const TokenizerParts& parts, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : parts.added) {
    if (token.normalized != normalized) continue;
    std::string storage;
    if (normalized) token.content = parts.normalizer.apply(token.content, storage);
    tokens.push_back(std::move(token));
  }
  return AddedTokens(std::move(tokens));
}

std::vector<std::string> tokens_by_id(const TokenizerParts& parts) {
  std::vector<std::string> tokens;
  const auto set = [&](std::int32_t id, const std::string& token) {
    if (id > kLargestId) {
      throw ConfigError(fmt::format("tokenizer.json: expected ids below {}, got {}", kLargestId, id));
    }
    if (id >= static_cast<std::int32_t>(tokens.size())) tokens.resize(id + 1);
    tokens[id] = token;
  };
  for (const auto& [token, id] : parts.model->vocabulary()) set(id, token);
  for (const AddedToken& token : parts.added) set(token.id, token.content);
  for (const auto* around : {&parts.before, &parts.after}) {
    for (const std::int32_t id : *around) {
      if (id < static_cast<std::int32_t>(tokens.size())) continue;
      throw ConfigError(fmt::format("tokenizer.json: post_processor: expected ids of tokens, got {}", id));
    }
  }
  return tokens;
}

}  // namespace

HuggingFaceTokenizer::HuggingFaceTokenizer(const std::filesystem::path& path, bool special_ids,
                                           const std::vector<std::string>& further_special)
    : parts_(read_tokenizer_json(path, further_special)),
      raw_(tokens_found(parts_, false)),
      normalized_(tokens_found(parts_, true)),
      special_ids_(special_ids),
      token_of_id_(tokens_by_id(parts_)) {}

void HuggingFaceTokenizer::append_words(std::string_view text, bool at_start, WordCache& cache,
                                        std::vector<std::int32_t>& ids) const {
  parts_.splitter.for_each_word(text, at_start, [&](std::string_view word) {
    cache.append(word, ids, [&] { parts_.model->append_ids(word, ids); });
  });
}

void HuggingFaceTokenizer::append_normalized(std::string_view text, bool at_start, WordCache& cache,
                                             std::vector<std::int32_t>& ids) const {
  std::string storage;
  text = parts_.normalizer.apply(text, storage);
  if (normalized_.empty()) return append_words(text, at_start, cache, ids);
  for (const AddedTokens::Piece& piece : normalized_.split(text)) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
    } else {
      append_words(text.substr(piece.begin, piece.end - piece.begin), at_start && piece.begin == 0, cache, ids);
    }
  }
}

std::vector<std::int32_t> HuggingFaceTokenizer::encode(std::string_view text) const {
  std::string storage;
  text = valid_utf8(text, storage);
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 3 + 3);
  if (special_ids_) ids = parts_.before;
  WordCaches::Loan cache(caches_);
  if (raw_.empty()) {
    append_normalized(text, true, *cache, ids);
  } else {
    for (const AddedTokens::Piece& piece : raw_.split(text)) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
      } else {
        append_normalized(text.substr(piece.begin, piece.end - piece.begin), piece.begin == 0, *cache, ids);
      }
    }
  }
  if (special_ids_) ids.insert(ids.end(), parts_.after.begin(), parts_.after.end());
  return ids;
}

std::string HuggingFaceTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      throw ConfigError(
          fmt::format("HuggingFaceTokenizer: expected ids from 0 to {}, got {}. Was the data made with "
                      "another tokenizer?",
                      vocab_size() - 1, id));
    }
    tokens.push_back(token_of_id_[id]);
  }
  return parts_.decoder.text(std::move(tokens));
}

std::string HuggingFaceTokenizer::description() const {
  return fmt::format("HuggingFaceTokenizer vocab_size={} content={}{}", vocab_size(), hex64(parts_.content),
                     special_ids_ ? "" : " without special ids");
}

}  // namespace ringtron
