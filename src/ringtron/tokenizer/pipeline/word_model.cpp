#include "ringtron/tokenizer/pipeline/word_model.h"

#include <fmt/format.h>

#include "ringtron/base/hash.h"

namespace ringtron {

std::size_t TextHash::operator()(std::string_view text) const { return hash64(text); }

std::vector<std::int32_t> WordModel::byte_tokens(std::string_view text) const {
  std::vector<std::int32_t> ids;
  for (const char byte : text) {
    const auto found = vocabulary_.find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)));
    if (found == vocabulary_.end()) return {};
    ids.push_back(found->second);
  }
  return ids;
}

std::unique_ptr<WordModel> make_word_model(const JsonPart& json, bool byte_level) {
  // Files of old versions have no type: merges tell a BPE.
  const std::string type = json.text_or("type", json.has("merges") ? "BPE" : "");
  if (type == "BPE") return make_bpe_model(json, byte_level);
  if (type == "Unigram") return make_unigram_model(json, byte_level);
  json.refuse_kind("BPE, Unigram");
}

}  // namespace ringtron
