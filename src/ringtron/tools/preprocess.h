// What preprocess_data does: text in, PREFIX_<key>_<level>.bin and .idx out, with several threads and
// constant memory: a few hundred MiB, or some times the longest line. A text file is one document and is read in
// pieces, unless it is split into sentences.
//
// A reader thread cuts the input into batches, workers encode them, the calling thread writes them in the
// order of the input; so the files do not depend on the number of workers. They appear complete or not at
// all.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ringtron/tokenizer/tokenizer.h"
#include "ringtron/tools/document_encoder.h"

namespace ringtron {

struct PreprocessOptions {
  std::vector<std::string> inputs;  // see find_input_files()
  std::string output_prefix;        // its folder is made if need be
  EncoderOptions encoder;
  TokenizerOptions tokenizer;
  int workers = 1;
  std::int64_t log_interval = 1000;  // documents; progress is told at most every two seconds
  bool strict = false;               // stop at the first bad line
};

struct PreprocessSummary {
  std::int64_t documents = 0;  // read, good ones
  std::int64_t empty = 0;  // of those, without any text: they have no tokens, but their boundary, as Megatron's have
  std::int64_t bad = 0;    // lines that are not JSON, lack a key, or hold something else under it: in no output
  std::int64_t passed_over = 0;      // files of folders that are no text
  std::int64_t lone_surrogates = 0;  // read as U+FFFD
  std::int64_t eod_inside = 0;       // documents whose text holds the end-of-document token
  std::int64_t sequences = 0;        // of the key that has most: more than documents where texts are split or lists
  std::int64_t bytes = 0;
  std::vector<std::int64_t> tokens;   // for each key
  std::vector<std::string> prefixes;  // of the files written, for each key
};

// The closing lines: what was read and skipped, and one line for each output.
std::vector<std::string> describe(const PreprocessSummary& summary, double seconds);

// How to tell people; called from one thread at a time.
struct PreprocessReport {
  std::function<void(const std::string&)> progress;
  std::function<void(const std::string&)> bad_line;  // the first few
  std::function<void(const std::string&)> notice;    // what may not be as it was meant
};

// Throws ConfigError for a wrong option, an output that cannot be written (before any work) or input without any
// text, IoError for files that fail, for a bad line with `strict`, and when `interrupted` becomes true; then no
// output is left and older output is as it was.
PreprocessSummary preprocess(const PreprocessOptions& options, const PreprocessReport& report,
                             const std::atomic<bool>& interrupted);

}  // namespace ringtron
