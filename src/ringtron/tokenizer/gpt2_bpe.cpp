#include "ringtron/tokenizer/gpt2_bpe.h"

#include <fmt/format.h>

#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/tokenizer/pre_tokenizer.h"

namespace ringtron {
namespace {

std::string describe(const BpeModel& model) {
  std::uint64_t hash = static_cast<std::uint64_t>(model.end_of_text);
  for (const std::string& token : model.tokens) hash = hash64(token, hash);
  hash = hash64(std::as_bytes(std::span(model.merges)), hash);
  return fmt::format("GPT2BPETokenizer vocab_size={} content={}", model.tokens.size(), hex64(hash));
}

}  // namespace

Gpt2BpeTokenizer::Gpt2BpeTokenizer(BpeModel model)
    : model_(std::move(model)), merger_(model_), description_(describe(model_)) {}

std::vector<std::int32_t> Gpt2BpeTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 3 + 1);
  WordCaches::Loan cache(caches_);
  for_each_word(text, [&](std::string_view word) { cache->append(word, ids, [&] { merger_.append_ids(word, ids); }); });
  return ids;
}

std::string Gpt2BpeTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      throw ConfigError(
          fmt::format("GPT2BPETokenizer: expected ids from 0 to {}, got {}. Was the data made with another "
                      "vocabulary?",
                      vocab_size() - 1, id));
    }
    text += model_.tokens[id];
  }
  return text;
}

}  // namespace ringtron
