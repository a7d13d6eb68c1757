#include "ringtron/tokenizer/pipeline/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/text.h"
#include "ringtron/tokenizer/pipeline/json_part.h"

namespace ringtron {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uintmax_t kLargestFile = std::uintmax_t{1} << 30;

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw ConfigError(fmt::format("--tokenizer-model {}: {}", excerpt(path.string(), 200), why));
}

// Why a path that does not exist may have been given: a name of the hub has one slash and is not absolute.
std::string why_missing(const fs::path& path) {
  const std::string name = path.string();
  const bool hub = !name.empty() && name[0] != '/' && name[0] != '.' && std::count(name.begin(), name.end(), '/') == 1;
  const std::string last = path.filename().string();
  if (!hub || last.find(".json") != std::string::npos) return "no such file or folder";
  return fmt::format(
      "no such folder. If it is a name of the Hugging Face hub, download it first (nothing is downloaded "
      "here) and give the folder: hf download {} --include 'tokenizer*' 'special_tokens_map.json' "
      "--local-dir {}",
      excerpt(name), excerpt(last));
}

fs::path json_path(const fs::path& path) {
  std::error_code ignored;
  const auto status = fs::status(path, ignored);
  if (!fs::exists(status)) refuse(path, why_missing(path));
  if (!fs::is_directory(status)) return path;
  if (fs::exists(path / "tokenizer.json", ignored)) return path / "tokenizer.json";
  if (fs::exists(path / "tokenizer.model", ignored)) {
    refuse(path,
           "the folder has no tokenizer.json, but a tokenizer.model. Give that: --tokenizer-type Llama2Tokenizer "
           "--tokenizer-model FOLDER/tokenizer.model");
  }
  if (fs::exists(path / "merges.txt", ignored)) {
    refuse(path,
           "the folder has no tokenizer.json, but a merges.txt. If it is GPT-2's kind: --tokenizer-type "
           "GPT2BPETokenizer --vocab-file FOLDER/vocab.json --merge-file FOLDER/merges.txt");
  }
  refuse(path, "the folder has no tokenizer.json");
}

std::string content_of(const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) refuse(file, "expected a file");
  if (fs::file_size(file, ignored) > kLargestFile) refuse(file, "expected a file of some MB");
  try {
    return read_file(file);
  } catch (const IoError& error) {
    refuse(file, error.what());
  }
}

struct OptionalJson {
  json document = json::object();
  std::string place, content;
  JsonPart part() const { return {document, place}; }
};

OptionalJson read_beside(const fs::path& file, const char* name) {
  OptionalJson found{json::object(), (file.parent_path() / name).string() + ": ", {}};
  std::error_code ignored;
  if (!fs::exists(file.parent_path() / name, ignored)) return found;
  found.content = content_of(file.parent_path() / name);
  found.document = parse_json_file(found.content, found.place);
  if (!found.document.is_object()) refuse(file.parent_path() / name, "expected a JSON object");
  return found;
}

AddedToken added_token_of(const JsonPart& json) {
  return {.content = json.text("content"),
          .single_word = json.flag_or("single_word", false),
          .left_strip = json.flag_or("lstrip", false),
          .right_strip = json.flag_or("rstrip", false),
          .normalized = json.flag_or("normalized", !json.flag_or("special", false))};
}

// A special token of a config: "</s>" or {"content": "</s>", ...}.
std::optional<AddedToken> special_token(const JsonPart& config, const char* key) {
  if (!config.has(key)) return std::nullopt;
  const JsonPart part = config.at(key);
  AddedToken token;
  if (part.value().is_string()) {
    token.content = part.text();
  } else {
    token = added_token_of(part);
  }
  token.normalized = false;
  return token;
}

// Collects added tokens with the ids that the tokenizers library gives them: the vocabulary's, or the next free one.
class AddedList {
 public:
  explicit AddedList(const TokenIds& vocabulary)
      : vocabulary_(vocabulary), next_(static_cast<std::int32_t>(vocabulary.size())) {}

  void add(AddedToken token) {
    if (token.content.empty() || ids_.contains(token.content)) return;
    const auto own = vocabulary_.find(token.content);
    token.id = own != vocabulary_.end() ? own->second : next_;
    next_ = std::max(next_, token.id + 1);
    ids_.emplace(token.content, token.id);
    tokens_.push_back(std::move(token));
  }

  const TokenIds& ids() const { return ids_; }
  std::vector<AddedToken> take() { return std::move(tokens_); }

 private:
  const TokenIds& vocabulary_;
  std::int32_t next_;
  TokenIds ids_;
  std::vector<AddedToken> tokens_;
};

constexpr const char* kSpecialKeys[] = {"bos_token", "eos_token", "unk_token",  "sep_token",
                                        "pad_token", "cls_token", "mask_token", "additional_special_tokens"};

void add_tokens_of_config(const JsonPart& config, AddedList& added) {
  if (config.has("added_tokens_decoder")) {
    std::vector<std::pair<std::int64_t, AddedToken>> by_id;
    const JsonPart decoder = config.at("added_tokens_decoder");
    if (!decoder.value().is_object()) decoder.refuse("expected an object");
    for (const auto& [id, token] : decoder.value().items()) {
      by_id.emplace_back(std::atoll(id.c_str()), added_token_of(decoder.at(id.c_str())));
    }
    std::stable_sort(by_id.begin(), by_id.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [id, token] : by_id) added.add(std::move(token));
  }
  for (const char* key : kSpecialKeys) {
    if (!config.has(key)) continue;
    const JsonPart part = config.at(key);
    if (!part.value().is_array()) {
      added.add(*special_token(config, key));
      continue;
    }
    for (const JsonPart& item : part.items()) {
      AddedToken token = item.value().is_string() ? AddedToken{.content = item.text()} : added_token_of(item);
      token.normalized = false;
      added.add(std::move(token));
    }
  }
}

// The ids around a text, of the one-sequence template.
void add_template(const JsonPart& json, TokenizerParts& parts) {
  bool behind = false;
  for (const JsonPart& item : json.items("single")) {
    if (item.has("Sequence")) {
      if (behind) item.refuse("a template with the text twice is not built");
      behind = true;
      continue;
    }
    const std::string name = item.at("SpecialToken").text("id");
    const JsonPart ids = json.at("special_tokens").at(name.c_str()).at("ids");
    for (const JsonPart& id : ids.items()) (behind ? parts.after : parts.before).push_back(id.id());
  }
}

void add_post_processor(const JsonPart& json, TokenizerParts& parts) {
  const std::string type = json.text("type");
  if (type == "ByteLevel") return;  // of offsets alone
  if (type == "Sequence") {
    for (const JsonPart& part : json.items("processors")) add_post_processor(part, parts);
  } else if (type == "TemplateProcessing") {
    add_template(json, parts);
  } else {
    json.refuse_kind("TemplateProcessing, ByteLevel, Sequence");
  }
}

// transformers makes the template of these classes anew, from two flags.
bool has_flags_for_template(const JsonPart& config) {
  const std::string name = config.text_or("tokenizer_class", "");
  return name == "LlamaTokenizer" || name == "LlamaTokenizerFast" || name == "GemmaTokenizer" ||
         name == "GemmaTokenizerFast";
}

std::int32_t id_of_special(const JsonPart& config, const char* key, const AddedList& added) {
  const auto token = special_token(config, key);
  if (!token) config.refuse(fmt::format("it has no {}", key));
  const auto known = added.ids().find(token->content);
  if (known == added.ids().end()) config.refuse(fmt::format("{} is empty", key));
  return known->second;
}

void add_special_ids(const JsonPart& json, const JsonPart& config, const AddedList& added, TokenizerParts& parts) {
  if (has_flags_for_template(config)) {
    if (config.flag_or("add_bos_token", true)) parts.before.push_back(id_of_special(config, "bos_token", added));
    if (config.flag_or("add_eos_token", false)) parts.after.push_back(id_of_special(config, "eos_token", added));
  } else if (json.has("post_processor")) {
    add_post_processor(json.at("post_processor"), parts);
  }
  // As Megatron-LM does where there is no end.
  const char* end = !config.has("eos_token") && config.has("sep_token") ? "sep_token" : "eos_token";
  parts.end_of_text = id_of_special(config, end, added);
}

}  // namespace

TokenizerParts read_tokenizer_json(const fs::path& path, const std::vector<std::string>& further_special) {
  const fs::path file = json_path(path);
  const std::string content = content_of(file), place = fmt::format("--tokenizer-model {}: ", file.string());
  const json document = parse_json_file(content, place);
  const JsonPart root(document, place);
  if (!document.is_object() || !root.has("model")) {
    root.refuse("expected a tokenizer.json, which has a 'model'; it is another JSON file");
  }
  OptionalJson config = read_beside(file, "tokenizer_config.json");
  const OptionalJson map = read_beside(file, "special_tokens_map.json");
  for (const char* key : kSpecialKeys) {
    if (!config.part().has(key) && map.part().has(key)) config.document[key] = map.document[key];
  }
  TokenizerParts parts;
  if (root.has("normalizer")) parts.normalizer = Normalizer(root.at("normalizer"));
  if (root.has("pre_tokenizer")) parts.splitter = WordSplitter(root.at("pre_tokenizer"));
  if (root.has("decoder")) parts.decoder = TokenDecoder(root.at("decoder"));
  parts.model = make_word_model(root.at("model"), parts.splitter.is_byte_level());
  AddedList added(parts.model->vocabulary());
  if (root.has("added_tokens")) {
    for (const JsonPart& token : root.items("added_tokens")) added.add(added_token_of(token));
  }
  add_tokens_of_config(config.part(), added);
  for (const std::string& token : further_special) added.add({.content = token, .normalized = false});
  add_special_ids(root, config.part(), added, parts);
  parts.added = added.take();
  parts.content = hash64(map.content, hash64(config.content, hash64(content)));
  for (const std::string& token : further_special) parts.content = hash64(token, parts.content);
  return parts;
}

}  // namespace ringtron
