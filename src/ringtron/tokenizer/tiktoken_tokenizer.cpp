#include "ringtron/tokenizer/tiktoken_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/tokenizer/pipeline/utf8.h"

namespace ringtron {
namespace {

constexpr const char kEnd[] = "</s>";
constexpr const char* kUsual[] = {"<unk>", "<s>", kEnd, "<mask>", "<pad>", "<cls>", "<sep>"};

std::vector<std::string> special_tokens(const TikTokenOptions& options) {
  std::vector<std::string> tokens = options.special_tokens;
  if (tokens.empty()) tokens.assign(std::begin(kUsual), std::end(kUsual));
  for (const char* usual : kUsual) {
    if (std::find(tokens.begin(), tokens.end(), usual) != tokens.end()) continue;
    throw ConfigError(fmt::format("--tokenizer-special-tokens: expected {} among them", usual));
  }
  if (static_cast<std::int64_t>(tokens.size()) > options.special_count) {
    throw ConfigError(
        fmt::format("--tiktoken-num-special-tokens: expected at least the {} of --tokenizer-special-tokens, got {}",
                    tokens.size(), options.special_count));
  }
  while (static_cast<std::int64_t>(tokens.size()) < options.special_count) {
    tokens.push_back(fmt::format("<SPECIAL_{}>", tokens.size()));
  }
  if (std::set<std::string>(tokens.begin(), tokens.end()).size() != tokens.size()) {
    throw ConfigError("--tokenizer-special-tokens: expected each once");
  }
  return tokens;
}

}  // namespace

TikTokenTokenizer::TikTokenTokenizer(const std::filesystem::path& file, const TikTokenOptions& options)
    : token_of_id_(special_tokens(options)),
      rules_(options.pattern == TikTokenPattern::v1 ? kTikTokenV1Words : kTikTokenV2Words) {
  std::vector<AddedToken> special;
  for (std::size_t id = 0; id < token_of_id_.size(); ++id) {
    special.push_back({.content = token_of_id_[id], .id = static_cast<std::int32_t>(id)});
    if (token_of_id_[id] == kEnd) end_ = static_cast<std::int32_t>(id);
  }
  special_ = AddedTokens(std::move(special));
  const std::int64_t size = options.vocab_size > 0 ? options.vocab_size : kTikTokenVocabulary;
  const std::int64_t inner = size - options.special_count;
  std::vector<std::string> tokens = read_tiktoken_file(file);
  if (inner < 256 || inner > static_cast<std::int64_t>(tokens.size())) {
    throw ConfigError(
        fmt::format("--tokenizer-model {}: expected at least {} tokens (--vocab-size {} without the {} of "
                    "--tiktoken-num-special-tokens) and at least 256, got {}",
                    file.string(), inner, size, options.special_count, tokens.size()));
  }
  tokens.resize(static_cast<std::size_t>(inner));
  model_ = std::make_unique<TikTokenModel>(tokens, static_cast<std::int32_t>(options.special_count));
  token_of_id_.insert(token_of_id_.end(), tokens.begin(), tokens.end());
  std::uint64_t hash = 0;
  for (const std::string& token : token_of_id_) hash = hash64(token, hash);
  description_ = fmt::format("TikTokenizer vocab_size={} special={} pattern={} content={}", size, options.special_count,
                             word_of(options.pattern), hex64(hash));
}

std::vector<std::int32_t> TikTokenTokenizer::encode(std::string_view text) const {
  std::string storage;
  text = valid_utf8(text, storage);
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 3 + 1);
  WordCaches::Loan cache(caches_);
  for (const AddedTokens::Piece& piece : special_.split(text)) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
      continue;
    }
    for_each_word_by(rules_, text.substr(piece.begin, piece.end - piece.begin),
                     [&](std::string_view word) { cache->append(word, ids, [&] { model_->append_ids(word, ids); }); });
  }
  return ids;
}

std::string TikTokenTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      throw ConfigError(
          fmt::format("TikTokenizer: expected ids from 0 to {}, got {}. Was the data made with another "
                      "vocabulary?",
                      vocab_size() - 1, id));
    }
    text += token_of_id_[id];
  }
  return text;
}

}  // namespace ringtron
