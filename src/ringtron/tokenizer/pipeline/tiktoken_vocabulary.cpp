#include "ringtron/tokenizer/pipeline/tiktoken_vocabulary.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/text.h"
#include "ringtron/tokenizer/pipeline/json_part.h"

namespace ringtron {
namespace {

std::optional<std::string> from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return std::nullopt;
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;  // of bits that wait
  for (const char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xFF);
  }
  return bytes;
}

class TokenList {
 public:
  explicit TokenList(std::string place) : place_(std::move(place)) {}

  // Of line or entry `number`, which must be the next rank.
  void add(std::string_view base64, std::int64_t rank) {
    const auto number = static_cast<std::int64_t>(tokens_.size());
    if (rank != number) refuse(fmt::format("expected rank {}, got {}", number, rank));
    auto bytes = from_base64(base64);
    if (!bytes || bytes->empty()) {
      refuse(fmt::format("rank {}: expected a token in base64, got '{}'", rank, excerpt(base64, 60)));
    }
    tokens_.push_back(std::move(*bytes));
  }

  [[noreturn]] void refuse(const std::string& why) const { throw ConfigError(fmt::format("{}: {}", place_, why)); }

  std::vector<std::string> done() {
    TokenIds seen;
    for (const std::string& token : tokens_) {
      if (!seen.emplace(token, 0).second) refuse(fmt::format("the token '{}' comes twice", excerpt(token, 60)));
    }
    for (int byte = 0; byte < 256; ++byte) {
      if (!seen.contains(std::string(1, static_cast<char>(byte)))) refuse(fmt::format("byte {} is no token", byte));
    }
    return std::move(tokens_);
  }

 private:
  std::string place_;
  std::vector<std::string> tokens_;
};

void read_json(const std::string& content, const std::string& place, TokenList& list) {
  const nlohmann::json document = parse_json_file(content, place);
  if (!document.is_array()) list.refuse("expected an array of {\"rank\", \"token_bytes\", \"token_str\"}");
  for (const auto& item : document) {
    const auto rank = item.is_object() ? item.find("rank") : item.end();
    const auto bytes = item.is_object() ? item.find("token_bytes") : item.end();
    if (rank == item.end() || bytes == item.end() || !rank->is_number_integer() || !bytes->is_string()) {
      list.refuse("expected an array of {\"rank\", \"token_bytes\", \"token_str\"}");
    }
    list.add(bytes->get_ref<const std::string&>(), rank->get<std::int64_t>());
  }
}

void read_lines(const std::string& content, TokenList& list) {
  std::int64_t number = 1;
  for (const std::string& line : split(content, '\n')) {
    if (trim(line).empty()) continue;
    const std::vector<std::string> words = split(trim(line), ' ');
    std::int64_t rank = -1;
    const bool two = words.size() == 2;
    const char* end = two ? words[1].data() + words[1].size() : nullptr;
    if (!two || std::from_chars(words[1].data(), end, rank).ptr != end) {
      list.refuse(fmt::format("line {}: expected a token in base64 and its rank, got '{}'", number, excerpt(line, 60)));
    }
    list.add(words[0], rank);
    ++number;
  }
}

struct RankedMerges {
  std::vector<BpeMerge> merges;
  std::vector<std::int32_t> ranks;
};

// Every way in which two tokens make a third.
RankedMerges merges_of(const std::vector<std::string>& tokens, const TokenIds& ids) {
  RankedMerges all;
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
    const std::string_view token = tokens[rank];
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = ids.find(token.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(token.substr(cut));
      if (right == ids.end()) continue;
      all.merges.push_back({left->second, right->second, ids.find(token)->second});
      all.ranks.push_back(static_cast<std::int32_t>(rank));
    }
  }
  return all;
}

TokenIds ids_of(const std::vector<std::string>& tokens, std::int32_t first_id) {
  TokenIds ids;
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
    ids.emplace(tokens[rank], first_id + static_cast<std::int32_t>(rank));
  }
  return ids;
}

BpeMerger merger_of(const std::vector<std::string>& tokens, const TokenIds& ids) {
  const RankedMerges all = merges_of(tokens, ids);
  return {all.merges, all.ranks};
}

}  // namespace

std::vector<std::string> read_tiktoken_file(const std::filesystem::path& file) {
  const std::string place = fmt::format("--tokenizer-model {}", excerpt(file.string(), 200));
  std::string content;
  try {
    content = read_file(file);
  } catch (const IoError& error) {
    throw ConfigError(
        fmt::format("--tokenizer-model: {}. Give the vocabulary, a .json or .tiktoken file", error.what()));
  }
  TokenList list(place);
  if (file.extension() == ".json") {
    read_json(content, place, list);
  } else {
    read_lines(content, list);
  }
  return list.done();
}

TikTokenModel::TikTokenModel(const std::vector<std::string>& tokens, std::int32_t first_id)
    : WordModel(ids_of(tokens, first_id)), merger_(merger_of(tokens, vocabulary())), id_of_byte_(256) {
  for (int byte = 0; byte < 256; ++byte) {
    id_of_byte_[byte] = vocabulary().find(std::string(1, static_cast<char>(byte)))->second;
  }
}

void TikTokenModel::append_ids(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (const auto whole = vocabulary().find(word); whole != vocabulary().end()) {
    ids.push_back(whole->second);
    return;
  }
  constexpr std::size_t kShort = 64;
  if (word.size() <= kShort) {
    std::array<std::int32_t, kShort> start;
    for (std::size_t i = 0; i < word.size(); ++i) start[i] = id_of_byte_[static_cast<unsigned char>(word[i])];
    return merger_.append_merged({start.data(), word.size()}, ids);
  }
  std::vector<std::int32_t> start;
  for (const char c : word) start.push_back(id_of_byte_[static_cast<unsigned char>(c)]);
  merger_.append_merged(start, ids);
}

}  // namespace ringtron
