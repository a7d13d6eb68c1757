// The documents of --input, in order: lines of JSON, or whole text files. The one reader of all tools that take text.
//
// A file *.jsonl or *.ndjson is JSON lines, a file *.txt is one document of text. Any other is JSON lines if its
// first characters are {" (white space may stand between), and text if not; but a file *.json that is another form of
// JSON is refused, or in a folder passed over. ".gz", ".bz2" and ".zst" at the end of a name are looked through. Lines
// end as Python's do, with \n, \r\n or \r. Bytes of text are kept as they are, but for a byte order mark at the
// beginning.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/tools/byte_source.h"
#include "ringtron/tools/input_files.h"

namespace ringtron {

struct RawDocument {
  std::string text;  // a line of JSON, or a text, or a piece of one
  std::string file;
  std::int64_t line = 0;   // from 1; 0: plain text
  bool continues = false;  // the next document is the next piece of this one
  std::string fault;       // why `text` could not be read; then it is empty
};

// "file:line", or the file.
std::string place_of(const RawDocument& document);

struct SourceOptions {
  // Whether a long text may come in pieces of a few MiB. They cut no word of pre_tokenizer.h, so that the tokens of the
  // pieces are those of the whole.
  bool pieces = false;
};

// Holds one line or text in memory; with `pieces`, texts without end and without memory. Not thread-safe.
class DocumentSource {
 public:
  // `context` must outlive the source.
  DocumentSource(std::vector<InputFile> files, SourceOptions options, const ReadContext& context);
  ~DocumentSource();

  // False at the end. Empty lines are passed over; an empty text file is an empty document. A line of 2 GiB or more
  // comes as a fault. Throws IoError as ByteSource does, and ConfigError for a named file that is not text, or is text
  // too long for one document.
  bool next(RawDocument& document);

  // Files of folders that are no text; a line was told for the first few.
  std::int64_t passed_over() const { return passed_over_; }

 private:
  class Reader;
  bool open_next();
  void tell_text(const InputFile& file, const Reader& reader) const;
  bool pass_over(const InputFile& file, const std::string& why);

  const std::vector<InputFile> files_;
  const SourceOptions options_;
  const ReadContext& context_;
  std::size_t at_ = 0;
  std::unique_ptr<Reader> reader_;  // of the file that is being read
  std::int64_t passed_over_ = 0;
};

}  // namespace ringtron
