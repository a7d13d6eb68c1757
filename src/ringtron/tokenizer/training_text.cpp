#include "ringtron/tokenizer/training_text.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> match_pattern(const std::string& pattern) {
  glob_t matches{};
  std::vector<fs::path> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
    paths.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  }
  ::globfree(&matches);
  return paths;
}

void add_folder(const fs::path& folder, std::set<fs::path>& files) {
  for (auto i = fs::recursive_directory_iterator(folder); i != fs::recursive_directory_iterator(); ++i) {
    if (i->path().filename().string().starts_with('.')) {
      if (i->is_directory()) i.disable_recursion_pending();
    } else if (i->is_regular_file()) {
      files.insert(i->path());
    }
  }
}

constexpr std::size_t kPiece = std::size_t{4} << 20;

bool is_graphic(char c) {
  return c > ' ' && c <= '~';
}

// The end of the first piece of `text`: after a line of visible characters at both sides of its one newline,
// where pre_split.h cuts in any case, so that the pieces have the words of the whole.
std::size_t piece_end(std::string_view text) {
  for (std::size_t i = text.find('\n', kPiece); i != std::string_view::npos; i = text.find('\n', i + 1)) {
    if (i + 1 < text.size() && is_graphic(text[i - 1]) && is_graphic(text[i + 1])) return i + 1;
  }
  return text.size();
}

void visit_json_line(const std::string_view line, std::span<const std::string> keys, const std::string& where,
                     const std::function<void(std::string_view)>& visit) {
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) {
    throw ConfigError(fmt::format("{}: expected a JSON object, got '{}'. Correct or remove the line", where,
                                  line.substr(0, 60)));
  }
  for (const std::string& key : keys) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string()) {
      throw ConfigError(
          fmt::format("{}: expected text under the key '{}', which is {}. Correct the line or choose "
                      "--json-keys",
                      where, key, found == object.end() ? "missing" : "of another type"));
    }
    visit(found->get_ref<const std::string&>());
  }
}

}  // namespace

std::vector<fs::path> find_text_files(std::span<const std::string> inputs) {
  std::set<fs::path> files;
  for (const std::string& input : inputs) {
    const std::size_t before = files.size();
    std::vector<fs::path> paths = fs::exists(input) ? std::vector<fs::path>{input} : match_pattern(input);
    for (const fs::path& path : paths) {
      if (fs::is_directory(path)) {
        add_folder(path, files);
      } else {
        files.insert(path);
      }
    }
    if (paths.empty() || (files.size() == before && fs::is_directory(paths.front()))) {
      throw ConfigError(fmt::format("--input {}: expected a text file, a folder of them or a pattern, but {}",
                                    input,
                                    paths.empty() ? "there is no such file" : "the folder has no files"));
    }
  }
  return {files.begin(), files.end()};
}

void for_each_document(const fs::path& file, std::span<const std::string> json_keys,
                       const std::function<void(std::string_view)>& visit) {
  if (file.extension() == ".gz") {
    throw ConfigError(
        fmt::format("--input {}: compressed files are not read here; gunzip it first", file.string()));
  }
  const MappedFile mapped(file);
  const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  if (file.extension() != ".jsonl" && file.extension() != ".json") {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t length = piece_end(text.substr(begin));
      visit(text.substr(begin, length));
      begin += length;
    }
    return;
  }
  std::size_t begin = 0;
  for (int number = 1; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    visit_json_line(line, json_keys, fmt::format("{}, line {}", file.string(), number), visit);
  }
}

}  // namespace ringtron
