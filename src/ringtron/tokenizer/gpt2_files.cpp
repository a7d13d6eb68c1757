#include "ringtron/tokenizer/gpt2_files.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/tokenizer/byte_alphabet.h"

namespace ringtron {
namespace {

using nlohmann::json;
using IdOfToken = std::unordered_map<std::string, std::int32_t>;  // by printable text

constexpr std::string_view kVersionLine = "#version: 0.2";

std::string read_option_file(const char* option, const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    throw ConfigError(fmt::format(
        "{} {}: no such file. Check the path, or make the file with train_tokenizer", option, path.string()));
  }
  if (std::filesystem::is_directory(path, ignored)) {
    throw ConfigError(fmt::format("{} {}: expected a file, got a folder", option, path.string()));
  }
  return read_file(path);
}

json parse_vocabulary(const std::filesystem::path& path) {
  const std::string content = read_option_file("--vocab-file", path);
  json document;
  try {
    document = json::parse(content);
  } catch (const json::exception& e) {
    throw ConfigError(fmt::format("--vocab-file {}: expected JSON, {}", path.string(), e.what()));
  }
  if (!document.is_object() || document.empty()) {
    throw ConfigError(fmt::format("--vocab-file {}: expected an object {{\"token\": id, ...}}, got {}",
                                  path.string(),
                                  document.is_object() ? "an empty one" : document.type_name()));
  }
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
                      path.string(), seen.size(), seen.size() - 1, token, value.dump()));
    }
    if (seen[id]) {
      throw ConfigError(
          fmt::format("--vocab-file {}: expected one token for each id, but id {} comes twice (once as "
                      "'{}')",
                      path.string(), id, token));
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
                    where, token));
  }
  return found->second;
}

void read_merges(const IdOfToken& ids, const std::filesystem::path& path, BpeModel& model) {
  const std::string content = read_option_file("--merge-file", path);
  std::size_t begin = 0;
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
      throw ConfigError(fmt::format("{}: expected '{}', got '{}'. Is it a merges.txt? If so, add that line",
                                    where, kVersionLine, line.substr(0, 60)));
    }
    if (line.empty()) continue;
    const std::size_t space = line.find(' ');
    if (space == 0 || space + 1 >= line.size() || line.find(' ', space + 1) != std::string::npos) {
      throw ConfigError(
          fmt::format("{}: expected two tokens separated by a space, got '{}'", where, line.substr(0, 60)));
    }
    const std::string left = line.substr(0, space), right = line.substr(space + 1);
    const std::int32_t left_id = find_part(ids, left, where), right_id = find_part(ids, right, where);
    model.merges.push_back({left_id, right_id, find_part(ids, left + right, where)});
  }
  if (content.empty()) {
    throw ConfigError(
        fmt::format("--merge-file {}: the file is empty; expected '{}' and one merge on each line",
                    path.string(), kVersionLine));
  }
}

}  // namespace

BpeModel read_gpt2_files(const std::filesystem::path& vocab_file, const std::filesystem::path& merge_file) {
  const IdOfToken ids = read_ids(parse_vocabulary(vocab_file), vocab_file);
  BpeModel model = make_vocabulary(ids, vocab_file);
  read_merges(ids, merge_file, model);
  return model;
}

void write_gpt2_files(const BpeModel& model, const std::filesystem::path& vocab_file,
                      const std::filesystem::path& merge_file) {
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
  write_file_atomically(vocab_file, vocabulary);
  write_file_atomically(merge_file, merges);
}

}  // namespace ringtron
