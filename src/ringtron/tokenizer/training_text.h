// The text files from which a tokenizer learns.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

// The files that `inputs` name: files, folders (all regular files below, names that begin with '.' left out)
// and shell patterns, sorted and each once. Throws ConfigError on an input that names no file.
std::vector<std::filesystem::path> find_text_files(std::span<const std::string> inputs);

// Calls visit(text) on each document: the values of `json_keys` on each line of a file *.jsonl or *.json. Any
// other file is one document, which comes in pieces of a few MiB that cut no word. Throws ConfigError, with
// the line number, on a line that is not a JSON object with these keys.
void for_each_document(const std::filesystem::path& file, std::span<const std::string> json_keys,
                       const std::function<void(std::string_view)>& visit);

}  // namespace ringtron
