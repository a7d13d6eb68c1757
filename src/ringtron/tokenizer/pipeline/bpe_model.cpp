// The BPE of tokenizer.json: merges in order of rank, over bytes or over characters, with what stands for a character
// that has no token.
#include <fmt/format.h>

#include <array>
#include <limits>
#include <numeric>

#include "ringtron/base/text.h"
#include "ringtron/tokenizer/bpe_merger.h"
#include "ringtron/tokenizer/byte_to_unicode.h"
#include "ringtron/tokenizer/pipeline/utf8.h"
#include "ringtron/tokenizer/pipeline/word_model.h"

namespace ringtron {
namespace {

constexpr std::int32_t kNone = -1;

struct BpeParts {
  TokenIds vocabulary;
  std::vector<BpeMerge> merges;
  std::int32_t unknown = kNone;
  bool fuse_unknown = false, byte_fallback = false, ignore_merges = false;
};

class BpeWords : public WordModel {
 public:
  BpeWords(BpeParts parts, const std::vector<std::int32_t>& ranks)
      : WordModel(std::move(parts.vocabulary)),
        merger_(parts.merges, ranks),
        unknown_(parts.unknown),
        fuse_unknown_(parts.fuse_unknown),
        byte_fallback_(parts.byte_fallback),
        ignore_merges_(parts.ignore_merges) {}

 protected:
  // The tokens that a word's merging starts from: those of its characters, of which some may have none.
  class Start {
   public:
    explicit Start(const BpeWords& model) : model_(model) {}
    void add(std::int32_t id) {
      flush();
      tokens_.push_back(id);
    }
    void add_missing(std::string_view character) {
      if (model_.byte_fallback_) {
        const auto bytes = model_.byte_tokens(character);
        tokens_.insert(tokens_.end(), bytes.begin(), bytes.end());
        if (!bytes.empty()) return;
      }
      if (model_.unknown_ == kNone) return;  // left out, as the library does
      if (!model_.fuse_unknown_) flush();
      pending_ = true;
    }
    const std::vector<std::int32_t>& done() {
      flush();
      return tokens_;
    }

   private:
    void flush() {
      if (pending_) tokens_.push_back(model_.unknown_);
      pending_ = false;
    }

    const BpeWords& model_;
    std::vector<std::int32_t> tokens_;
    bool pending_ = false;  // an unknown character, which the next may join
  };

  const BpeMerger& merger() const { return merger_; }
  bool ignore_merges() const { return ignore_merges_; }

 private:
  BpeMerger merger_;
  std::int32_t unknown_;
  bool fuse_unknown_, byte_fallback_, ignore_merges_;
};

class CharacterBpe final : public BpeWords {
 public:
  using BpeWords::BpeWords;

  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const override {
    if (ignore_merges()) {
      if (const auto whole = vocabulary().find(word); whole != vocabulary().end()) {
        ids.push_back(whole->second);
        return;
      }
    }
    Start start(*this);
    for (std::size_t i = 0; i < word.size();) {
      const std::string_view character = word.substr(i, utf8_length(word[i]));
      const auto found = vocabulary().find(character);
      if (found != vocabulary().end()) {
        start.add(found->second);
      } else {
        start.add_missing(character);
      }
      i += character.size();
    }
    merger().append_merged(start.done(), ids);
  }
};

class ByteBpe final : public BpeWords {
 public:
  ByteBpe(BpeParts parts, const std::vector<std::int32_t>& ranks) : BpeWords(std::move(parts), ranks) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      printable_[byte] = printable_from_bytes(std::string(1, static_cast<char>(byte)));
      const auto found = vocabulary().find(printable_[byte]);
      id_of_byte_[byte] = found == vocabulary().end() ? kNone : found->second;
      complete_ = complete_ && id_of_byte_[byte] != kNone;
    }
    if (!ignore_merges()) return;
    for (const auto& [token, id] : vocabulary()) {
      if (auto bytes = bytes_from_printable(token)) whole_words_.emplace(std::move(*bytes), id);
    }
  }

  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const override {
    if (ignore_merges()) {
      if (const auto whole = whole_words_.find(word); whole != whole_words_.end()) {
        ids.push_back(whole->second);
        return;
      }
    }
    constexpr std::size_t kShort = 64;
    if (complete_ && word.size() <= kShort) {
      std::array<std::int32_t, kShort> start;
      for (std::size_t i = 0; i < word.size(); ++i) start[i] = id_of_byte_[static_cast<unsigned char>(word[i])];
      return merger().append_merged({start.data(), word.size()}, ids);
    }
    Start start(*this);
    for (const char c : word) {
      const auto byte = static_cast<unsigned char>(c);
      if (id_of_byte_[byte] != kNone) {
        start.add(id_of_byte_[byte]);
      } else {
        start.add_missing(printable_[byte]);
      }
    }
    merger().append_merged(start.done(), ids);
  }

 private:
  std::array<std::string, 256> printable_;
  std::array<std::int32_t, 256> id_of_byte_ = {};
  bool complete_ = true;  // every byte has a token
  TokenIds whole_words_;  // by their bytes; for ignore_merges alone
};

TokenIds vocabulary_of(const JsonPart& json) {
  TokenIds ids;
  if (!json.value().is_object()) json.refuse("expected an object {\"token\": id, ...}");
  for (const auto& [token, id] : json.value().items()) {
    const std::int64_t number = id.is_number_integer() ? id.get<std::int64_t>() : -1;
    if (number < 0 || number >= std::numeric_limits<std::int32_t>::max()) {
      json.refuse(
          fmt::format("expected an id for '{}', got {}", excerpt(token, 60), excerpt(id.dump(-1, ' ', true), 60)));
    }
    ids.emplace(token, static_cast<std::int32_t>(number));
  }
  return ids;
}

std::vector<BpeMerge> merges_of(const JsonPart& json, const TokenIds& ids) {
  if (!json.value().is_array()) json.refuse("expected an array of merges");
  const auto id_of = [&](const std::string& token, std::size_t line) {
    const auto found = ids.find(token);
    if (found == ids.end()) {
      json.refuse(fmt::format("merge {} has or makes '{}', which the vocabulary lacks", line, excerpt(token, 60)));
    }
    return found->second;
  };
  std::vector<BpeMerge> merges;
  for (const auto& item : json.value()) {
    std::string left, right;
    const std::size_t line = merges.size();
    if (item.is_string()) {
      const auto& text = item.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        json.refuse(
            fmt::format("merge {}: expected two tokens separated by a space, got '{}'", line, excerpt(text, 60)));
      }
      left = text.substr(0, space), right = text.substr(space + 1);
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      left = item[0].get<std::string>(), right = item[1].get<std::string>();
    } else {
      json.refuse(fmt::format("merge {}: expected a string or a pair of them", line));
    }
    merges.push_back({id_of(left, line), id_of(right, line), id_of(left + right, line)});
  }
  return merges;
}

}  // namespace

std::unique_ptr<WordModel> make_bpe_model(const JsonPart& json, bool byte_level) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!json.text_or(key, "").empty()) json.at(key).refuse("is not built: only BPE without prefixes and suffixes is");
  }
  if (json.has("dropout") && json.at("dropout").value() != 0) json.at("dropout").refuse("is not built: ids are fixed");
  BpeParts parts;
  parts.vocabulary = vocabulary_of(json.at("vocab"));
  parts.merges = merges_of(json.at("merges"), parts.vocabulary);
  parts.fuse_unknown = json.flag_or("fuse_unk", false);
  parts.byte_fallback = json.flag_or("byte_fallback", false);
  parts.ignore_merges = json.flag_or("ignore_merges", false);
  if (json.has("unk_token")) {
    const auto found = parts.vocabulary.find(json.text("unk_token"));
    if (found == parts.vocabulary.end()) json.at("unk_token").refuse("the vocabulary lacks it");
    parts.unknown = found->second;
  }
  std::vector<std::int32_t> ranks(parts.merges.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  if (byte_level) return std::make_unique<ByteBpe>(std::move(parts), ranks);
  return std::make_unique<CharacterBpe>(std::move(parts), ranks);
}

}  // namespace ringtron
