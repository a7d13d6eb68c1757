#include "ringtron/tokenizer/gpt2_vocab_files.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/guarded_file.h"
#include "ringtron/base/text.h"
#include "ringtron/tokenizer/byte_to_unicode.h"

namespace ringtron {
namespace {

using nlohmann::json;
using IdOfToken = std::unordered_map<std::string, std::int32_t>;  // by printable text

constexpr std::string_view kVersionLine = "#version: 0.2";

constexpr std::uintmax_t kLargestFile = std::uintmax_t{1} << 30;

// What a file is that stands where a vocab.json or a merges.txt is expected; nullptr if it may be what is expected.
const char* foreign_kind(std::string_view content) {
  if (content.starts_with("\x1f\x8b")) return "a gzip file; take the compression off: gzip -d FILE";
  // A SentencePiece model begins with the first piece, a field of number 1 that holds "<unk>" or the like.
  if (content.starts_with('\n') && content.substr(0, 64).find("<unk>") != std::string_view::npos) {
    return "a SentencePiece model; only GPT-2's kind, vocab.json with merges.txt, is read here";
  }
  if (content.substr(0, 4096).find('\0') != std::string_view::npos) return "a binary file";
  return nullptr;
}

std::string read_option_file(const char* option, const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& why) {
    throw ConfigError(fmt::format("{} {}: {}", option, excerpt(path.string(), 200), why));
  };
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status)) {
    refuse("no such file. Check the path, or make the file with train_tokenizer");
  }
  if (std::filesystem::is_directory(status)) {
    refuse("expected a file, got a folder; give the vocab.json or merges.txt in it");
  }
  if (!std::filesystem::is_regular_file(status)) refuse(fmt::format("expected a file, got {}", not_a_file(path)));
  const std::uintmax_t size = std::filesystem::file_size(path, ignored);
  if (size > kLargestFile) refuse(fmt::format("expected a file of some MB, got {}", human_bytes(size)));
  std::string content = read_file(path);
  if (const char* kind = foreign_kind(content)) refuse(fmt::format("it is {}", kind));
  return content;
}

// JSON that a message names; a container by its kind alone.
std::string shown(const json& value) {
  return value.is_structured() ? fmt::format("an {}", value.type_name()) : excerpt(value.dump(-1, ' ', true), 60);
}

// What an object is that is no vocabulary.
std::string object_kind(const json& document) {
  const auto model = document.find("model");
  if (model != document.end() && model->is_object()) {
    return "it is a tokenizer.json, which holds vocabulary and merges in one. Give the vocab.json and merges.txt of the same "
           "model; the file has them under model.vocab and model.merges";
  }
  std::string keys;
  int count = 0;
  for (auto member = document.begin(); member != document.end() && count < 3; ++member, ++count) {
    keys += fmt::format("{}\"{}\"", count == 0 ? "" : ", ", excerpt(member.key(), 30));
  }
  return fmt::format("it is not a vocab.json {{\"token\": id, ...}}, but another JSON file with the keys {}{}", keys,
                     document.size() > 3 ? ", ..." : "");
}

json parse_vocabulary(const std::filesystem::path& path) {
  const std::string content = read_option_file("--vocab-file", path);
  const auto refuse = [&](const std::string& why) {
    throw ConfigError(fmt::format("--vocab-file {}: {}", excerpt(path.string(), 200), why));
  };
  if (content.starts_with("#version")) {
    refuse("it is a merges.txt. Were --vocab-file and --merge-file exchanged?");
  }
  json document;
  try {
    document = json::parse(content);
  } catch (const json::exception& e) {
    const auto* syntax = dynamic_cast<const json::parse_error*>(&e);
    if (content.empty()) refuse("expected JSON, but the file is empty");
    if (syntax == nullptr) refuse("expected JSON, but a number in it is out of range");
    refuse(fmt::format("expected JSON, but the file is cut off or no JSON, at byte {} of {}", syntax->byte,
                       content.size()));
  }
  if (!document.is_object() || document.empty()) {
    refuse(fmt::format("expected an object {{\"token\": id, ...}}, got {}",
                       document.is_object() ? "an empty one" : document.type_name()));
  }
  // In a vocabulary nearly all values are ids; a wrong one among them is told with its token (read_ids).
  std::size_t numbers = 0;
  for (const json& value : document) numbers += value.is_number() ? 1 : 0;
  if (2 * numbers < document.size()) refuse(object_kind(document));
  return document;
}

// The vocabulary's ids, which are a permutation of 0..V-1.
IdOfToken read_ids(const json& document, const std::filesystem::path& path) {
  IdOfToken ids;
  std::vector<bool> seen(document.size(), false);
  for (const auto& [token, value] : document.items()) {
    const std::int64_t id = value.is_number_integer() ? value.get<std::int64_t>() : -1;
    if (id < 0 || id >= static_cast<std::int64_t>(seen.size())) {
      throw ConfigError(
          fmt::format("--vocab-file {}: {} tokens must have the ids 0 to {}, but token '{}' has {}. Some "
                      "tokens are missing, or it is not a vocab.json",
                      path.string(), seen.size(), seen.size() - 1, excerpt(token, 60), shown(value)));
    }
    if (seen[id]) {
      throw ConfigError(
          fmt::format("--vocab-file {}: expected one token for each id, but id {} comes twice (once as "
                      "'{}')",
                      path.string(), id, excerpt(token, 60)));
    }
    seen[id] = true;
    ids.emplace(token, static_cast<std::int32_t>(id));
  }
  return ids;
}

// The tokens' bytes, the ids of single bytes and of the end of text.
BpeModel make_vocabulary(const IdOfToken& ids, const std::filesystem::path& path) {
  BpeModel model;
  model.tokens.resize(ids.size());
  for (const auto& [token, id] : ids) model.tokens[id] = bytes_from_printable(token).value_or(token);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = printable_from_bytes(std::string(1, static_cast<char>(byte)));
    const auto found = ids.find(token);
    if (found == ids.end()) {
      throw ConfigError(
          fmt::format("--vocab-file {}: expected a token for each of the 256 bytes, but byte {:#04x} "
                      "('{}') has none. It is not a byte-level vocabulary of GPT-2's kind",
                      path.string(), byte, token));
    }
    model.id_of_byte.push_back(found->second);
  }
  const auto end = ids.find(kEndOfText);
  if (end == ids.end()) {
    throw ConfigError(
        fmt::format("--vocab-file {}: expected the token {}, which separates documents. Add it with the "
                    "next free id: \"{}\": {}",
                    path.string(), kEndOfText, kEndOfText, ids.size()));
  }
  model.end_of_text = end->second;
  return model;
}

std::int32_t find_part(const IdOfToken& ids, const std::string& token, const std::string& where) {
  const auto found = ids.find(token);
  if (found == ids.end()) {
    throw ConfigError(
        fmt::format("{}: token '{}' is not in the vocabulary. Pass the --vocab-file and --merge-file that "
                    "were made together",
                    where, excerpt(token, 60)));
  }
  return found->second;
}

void refuse_second(const BpeModel& model, const std::filesystem::path& path) {
  std::unordered_map<std::uint64_t, std::size_t> rank_of_pair;
  for (std::size_t rank = 0; rank < model.merges.size(); ++rank) {
    const BpeMerge& merge = model.merges[rank];
    const std::uint64_t pair = static_cast<std::uint64_t>(merge.left) << 32 | static_cast<std::uint32_t>(merge.right);
    const auto [first, is_new] = rank_of_pair.emplace(pair, rank);
    if (is_new) continue;
    throw ConfigError(
        fmt::format("--merge-file {}: expected each merge once, but '{} {}' comes twice, as merge {} and as merge {}. "
                    "Is the file whole, or put together of several?",
                    excerpt(path.string(), 200), excerpt(printable_from_bytes(model.tokens[merge.left]), 60),
                    excerpt(printable_from_bytes(model.tokens[merge.right]), 60), first->second + 1, rank + 1));
  }
}

// A token that someone added, which no merge has to make: "<|name|>", "<pad>", "[CLS]".
bool looks_added(const std::string& token) {
  if (!bytes_from_printable(token)) return true;
  return token.size() > 2 &&
         ((token.front() == '<' && token.back() == '>') || (token.front() == '[' && token.back() == ']'));
}

// Of a merges.txt that was cut off between two lines nothing else tells: the text would get other ids. Tokens that were
// added to a vocabulary are made by no merge either; they are few, and stand behind the end of text or have a name in
// brackets.
void require_merges_of_tokens(const IdOfToken& ids, const std::filesystem::path& vocab_file,
                              const std::filesystem::path& merge_file, const BpeModel& model) {
  std::vector<bool> made(model.tokens.size(), false);
  for (const std::int32_t id : model.id_of_byte) made[id] = true;
  for (const BpeMerge& merge : model.merges) made[merge.result] = true;
  const std::int32_t last_made = model.merges.empty() ? -1 : model.merges.back().result;
  std::int64_t missing = 0;
  bool goes_on = false;  // behind the last merge's token, where the next merge's would be
  std::pair<std::int32_t, const std::string*> first{-1, nullptr};
  for (const auto& [token, id] : ids) {
    if (made[id] || looks_added(token)) continue;
    ++missing;
    goes_on = goes_on || (id > last_made && id < model.end_of_text);
    if (first.second == nullptr || id < first.first) first = {id, &token};
  }
  const std::int64_t merged = std::ssize(model.merges);
  if (missing == 0 || (!goes_on && missing * 100 < merged + missing)) return;
  throw ConfigError(fmt::format(
      "--merge-file {}: {} merges, but --vocab-file {} of {} tokens has {} tokens that no merge makes (the first "
      "is '{}', id {}). Is the merges file cut off, or of another vocabulary? Pass the two that were made together",
      excerpt(merge_file.string(), 200), merged, excerpt(vocab_file.string(), 200), model.tokens.size(), missing,
      excerpt(*first.second, 60), first.first));
}

void read_merges(const IdOfToken& ids, const std::filesystem::path& path, BpeModel& model) {
  const std::string content = read_option_file("--merge-file", path);
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  std::size_t begin = content.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  for (int number = 1; begin < content.size(); ++number) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string line = content.substr(begin, end - begin);
    begin = end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const std::string where = fmt::format("--merge-file {}, line {}", path.string(), number);
    if (number == 1) {
      // Some readers skip the first line whatever it is, others only a version: without one they would
      // disagree.
      if (line.starts_with("#version")) continue;
      const bool is_json = line.find_first_not_of(" \t") == line.find('{');
      throw ConfigError(fmt::format("{}: expected '{}', got '{}'. {}", where, kVersionLine, excerpt(line, 60),
                                    is_json && !line.empty()
                                        ? "It is JSON: were --vocab-file and --merge-file exchanged?"
                                        : "Is it a merges.txt? If so, add that line"));
    }
    if (line.empty()) continue;
    const std::size_t space = line.find(' ');
    if (space == 0 || space + 1 >= line.size() || line.find(' ', space + 1) != std::string::npos) {
      throw ConfigError(
          fmt::format("{}: expected two tokens separated by a space, got '{}'", where, excerpt(line, 60)));
    }
    const std::string left = line.substr(0, space), right = line.substr(space + 1);
    const std::int32_t left_id = find_part(ids, left, where), right_id = find_part(ids, right, where);
    model.merges.push_back({left_id, right_id, find_part(ids, left + right, where)});
  }
  if (content.empty()) {
    throw ConfigError(fmt::format("--merge-file {}: the file is empty; expected '{}' and one merge on each line",
                                  path.string(), kVersionLine));
  }
}

}  // namespace

BpeModel read_gpt2_vocab_files(const std::filesystem::path& vocab_file, const std::filesystem::path& merge_file) {
  const IdOfToken ids = read_ids(parse_vocabulary(vocab_file), vocab_file);
  BpeModel model = make_vocabulary(ids, vocab_file);
  read_merges(ids, merge_file, model);
  refuse_second(model, merge_file);
  require_merges_of_tokens(ids, vocab_file, merge_file, model);
  return model;
}

Gpt2Texts gpt2_texts(const BpeModel& model) {
  std::string vocabulary = "{";
  for (std::size_t id = 0; id < model.tokens.size(); ++id) {
    constexpr bool kAsciiOnly = true;
    vocabulary += fmt::format("{}{}: {}", id == 0 ? "" : ", ",
                              json(printable_from_bytes(model.tokens[id])).dump(-1, ' ', kAsciiOnly), id);
  }
  vocabulary += "}";
  std::string merges = fmt::format("{}\n", kVersionLine);
  for (const BpeMerge& merge : model.merges) {
    merges += fmt::format("{} {}\n", printable_from_bytes(model.tokens[merge.left]),
                          printable_from_bytes(model.tokens[merge.right]));
  }
  return {std::move(vocabulary), std::move(merges)};
}

void write_gpt2_vocab_files(const BpeModel& model, const std::filesystem::path& vocab_file,
                            const std::filesystem::path& merge_file) {
  const Gpt2Texts texts = gpt2_texts(model);
  write_file_atomically(vocab_file, texts.vocabulary);
  write_file_atomically(merge_file, texts.merges);
}

}  // namespace ringtron
