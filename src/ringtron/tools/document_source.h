// The documents of --input, in order: lines of JSONL files, or whole text files, plain or gzipped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ringtron {

struct RawDocument {
  std::string text;  // a line of JSON, or the content of a text file
  std::string file;
  std::int64_t line = 0;  // from 1; 0: the whole file is the document
};

// One input file and how to read it.
struct InputFile {
  std::filesystem::path path;
  bool json_lines = true;
  bool from_folder = false;  // then a binary file is passed over; a file that was named is always read
};

// Resolves --input: a file, a shell pattern, a folder (searched through all levels), or several with commas
// between. Items keep their order, files of one item are sorted. A file *.txt, and in a folder any file but
// *.jsonl, is one document; everything else is JSONL. ".gz" at the end of a name is looked through. Throws
// ConfigError for an item that names nothing.
std::vector<InputFile> find_input_files(const std::string& input);

// Reads documents one after another; holds one line, or one text file, in memory. Not thread-safe.
class DocumentSource {
 public:
  explicit DocumentSource(std::vector<InputFile> files);
  ~DocumentSource();

  // False at the end. Empty lines are passed over. Throws IoError, also for a .gz that is cut off or damaged.
  bool next(RawDocument& document);

  std::int64_t binary_files() const { return binary_files_; }

 private:
  class Reader;
  bool next_line(RawDocument& document);
  bool next_file(RawDocument& document);

  std::vector<InputFile> files_;
  std::size_t at_ = 0;
  std::unique_ptr<Reader> reader_;  // of the JSONL file that is being read
  std::int64_t line_ = 0;
  std::int64_t binary_files_ = 0;
};

}  // namespace ringtron
