#include "ringtron/tools/preprocess.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/data/indexed_dataset_writer.h"
#include "ringtron/tools/document_source.h"
#include "ringtron/tools/ordered_work.h"

namespace ringtron {
namespace {

constexpr std::size_t kBatchBytes = 256 << 10;
constexpr std::int64_t kBadLinesTold = 5;
constexpr double kProgressSeconds = 2;

// Some documents on their way through.
struct Batch {
  std::vector<RawDocument> raw;
  std::vector<EncodedDocument> encoded;
  std::int64_t bytes = 0;
};

// Joins its threads in any case, so that none outlives what it works with.
struct Threads {
  OrderedWork<Batch>& work;
  std::vector<std::thread> all;
  ~Threads() {
    work.fail(std::make_exception_ptr(IoError("stopped")));  // without effect after a regular end
    for (std::thread& thread : all) thread.join();
  }
};

class Writers {
 public:
  explicit Writers(const PreprocessOptions& options, TokenType type)
      : options_(options), start_(SteadyClock::now()) {
    const std::filesystem::path folder = std::filesystem::path(options.output_prefix).parent_path();
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
    if (error) throw IoError(fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
    const char* level = options.encoder.split_sentences ? "sentence" : "document";
    for (const std::string& key : options.encoder.json_keys) {
      summary_.prefixes.push_back(fmt::format("{}_{}_{}", options.output_prefix, key, level));
      writers_.push_back(std::make_unique<IndexedDatasetWriter>(summary_.prefixes.back(), type));
    }
  }

  void write(const Batch& batch, const PreprocessReport& report) {
    for (const EncodedDocument& document : batch.encoded) write(document, report);
    summary_.bytes += batch.bytes;
    if (seconds_since(last_) < kProgressSeconds || summary_.documents < told_ + options_.log_interval) return;
    const double seconds = seconds_since(start_);
    report.progress(fmt::format("Processed {} documents ({:.0f} docs/s, {:.1f} MB/s).", summary_.documents,
                                static_cast<double>(summary_.documents) / seconds,
                                static_cast<double>(summary_.bytes) / 1e6 / seconds));
    last_ = SteadyClock::now();
    told_ = summary_.documents;
  }

  PreprocessSummary finish() {
    for (const auto& writer : writers_) summary_.tokens.push_back(writer->tokens());
    if (std::all_of(summary_.tokens.begin(), summary_.tokens.end(), [](std::int64_t n) { return n == 0; })) {
      throw ConfigError(
          fmt::format("--input {}: expected text, got {} documents without any and {} bad lines. Look at "
                      "--input and --json-keys",
                      options_.input, summary_.documents, summary_.bad));
    }
    for (const auto& writer : writers_) writer->finish();
    return summary_;
  }

 private:
  void write(const EncodedDocument& document, const PreprocessReport& report) {
    if (!document.fault.empty()) {
      if (options_.strict) {
        throw IoError(document.fault +
                      ". Nothing was written (--strict); correct the line, or leave --strict away");
      }
      if (++summary_.bad <= kBadLinesTold) report.bad_line(document.fault);
      return;
    }
    ++summary_.documents;
    bool any = false;
    for (std::size_t key = 0; key < document.texts.size(); ++key) {
      if (document.texts[key].empty()) continue;
      any = true;
      for (const auto& sequence : document.texts[key]) writers_[key]->add_sequence(sequence);
      writers_[key]->end_document();
    }
    if (!any) ++summary_.empty;
  }

  const PreprocessOptions& options_;
  PreprocessSummary summary_;
  std::vector<std::unique_ptr<IndexedDatasetWriter>> writers_;
  SteadyClock::time_point start_;
  SteadyClock::time_point last_ = start_;
  std::int64_t told_ = 0;
};

void check_options(const PreprocessOptions& options) {
  const auto& keys = options.encoder.json_keys;
  if (options.workers < 1)
    throw ConfigError(fmt::format("--workers: expected at least 1, got {}", options.workers));
  if (keys.empty()) throw ConfigError("--json-keys: expected at least one key, got none");
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (std::find(keys.begin() + static_cast<std::ptrdiff_t>(i) + 1, keys.end(), keys[i]) != keys.end()) {
      throw ConfigError(fmt::format("--json-keys: expected each key once, got \"{}\" twice", keys[i]));
    }
    if (keys[i].find('/') != std::string::npos) {
      throw ConfigError(
          fmt::format("--json-keys: \"{}\" would be part of a file name; expected no '/'", keys[i]));
    }
  }
}

void read_all(DocumentSource& source, OrderedWork<Batch>& work) {
  Batch batch;
  RawDocument document;
  while (source.next(document)) {
    batch.bytes += static_cast<std::int64_t>(document.text.size());
    batch.raw.push_back(std::move(document));
    if (batch.bytes < static_cast<std::int64_t>(kBatchBytes)) continue;
    if (!work.put(std::exchange(batch, {}))) return;
  }
  if (!batch.raw.empty() && !work.put(std::move(batch))) return;
  work.close();
}

void encode_all(const Tokenizer& tokenizer, const EncoderOptions& options, OrderedWork<Batch>& work) {
  DocumentEncoder encoder(tokenizer, options);
  const auto encode = [&](Batch& batch) {
    for (const RawDocument& document : batch.raw) batch.encoded.push_back(encoder.encode(document));
    batch.raw.clear();
  };
  while (work.work(encode)) {
  }
}

// A thread whose error ends the others.
template <class Body>
std::thread guarded_thread(OrderedWork<Batch>& work, Body body) {
  return std::thread([&work, body] {
    try {
      body();
    } catch (...) {
      work.fail(std::current_exception());
    }
  });
}

}  // namespace

std::vector<std::string> describe(const PreprocessSummary& summary, double seconds) {
  const double megabytes = static_cast<double>(summary.bytes) / 1e6;
  std::vector<std::string> lines = {
      fmt::format("Processed {} documents ({:.1f} MB) in {:.1f} s, {:.1f} MB/s. Skipped: {} bad lines, {} "
                  "empty documents, {} "
                  "binary files.",
                  summary.documents, megabytes, seconds, megabytes / seconds, summary.bad, summary.empty,
                  summary.binary_files)};
  for (std::size_t i = 0; i < summary.prefixes.size(); ++i) {
    lines.push_back(fmt::format("{0} tokens: {1}.bin and .idx; train with --data-path {1}", summary.tokens[i],
                                summary.prefixes[i]));
  }
  return lines;
}

PreprocessSummary preprocess(const PreprocessOptions& options, const PreprocessReport& report,
                             const std::atomic<bool>& interrupted) {
  check_options(options);
  const auto tokenizer = make_tokenizer(options.tokenizer);
  auto files = find_input_files(options.input);
  const bool folder_text =
      std::any_of(files.begin(), files.end(), [](const auto& f) { return !f.json_lines; });
  if (folder_text && options.encoder.json_keys.size() > 1) {
    throw ConfigError(
        "--json-keys: expected one key for plain text files, got several. Give JSONL, or one key");
  }
  DocumentSource source(std::move(files));
  Writers writers(options, token_type_for_vocab(tokenizer->vocab_size()));
  OrderedWork<Batch> work(static_cast<std::size_t>(options.workers) * 4);
  {
    Threads threads{work, {}};
    threads.all.push_back(guarded_thread(work, [&] { read_all(source, work); }));
    for (int i = 0; i < options.workers; ++i) {
      threads.all.push_back(guarded_thread(work, [&] { encode_all(*tokenizer, options.encoder, work); }));
    }
    Batch batch;
    while (work.take(batch)) {
      if (interrupted) throw IoError("interrupted; nothing was written");
      writers.write(batch, report);
    }
  }
  PreprocessSummary summary = writers.finish();
  summary.binary_files = source.binary_files();
  return summary;
}

}  // namespace ringtron
