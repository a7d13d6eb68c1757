#include "ringtron/tools/preprocess.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/data/indexed_dataset_writer.h"
#include "ringtron/tools/document_source.h"
#include "ringtron/tools/document_texts.h"
#include "ringtron/tools/input_progress.h"
#include "ringtron/tools/ordered_work.h"
#include "ringtron/tools/output_place.h"

namespace ringtron {
namespace {

constexpr std::size_t kBatchBytes = 256 << 10;
constexpr std::int64_t kBadLinesTold = 5;
constexpr double kProgressSeconds = 2;
constexpr int kMostWorkers = 1024;
constexpr std::size_t kBytesAtWork = std::size_t{512} << 20;

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

// The outputs of one run, made at its start.
class Writers {
 public:
  Writers(const PreprocessOptions& options, TokenType type, const std::vector<InputFile>& inputs)
      : options_(options), start_(SteadyClock::now()), progress_(inputs) {
    const char* level = options.encoder.split_sentences ? "sentence" : "document";
    for (const std::string& key : options.encoder.json_keys) {
      summary_.prefixes.push_back(fmt::format("{}_{}_{}", options.output_prefix, key, level));
      for (const char* half : {".bin", ".idx"}) refuse_input(summary_.prefixes.back() + half, inputs);
    }
    make_parent_folder("--output-prefix", options.output_prefix);
    for (const std::string& prefix : summary_.prefixes) {
      try {
        writers_.push_back(std::make_unique<IndexedDatasetWriter>(prefix, type));
      } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("--output-prefix: {}", error.what()));
      }
    }
  }

  std::atomic<std::int64_t>* consumed() { return progress_.consumed(); }

  void write(const Batch& batch, const PreprocessReport& report) {
    for (const EncodedDocument& document : batch.encoded) write(document, report);
    summary_.bytes += batch.bytes;
    if (seconds_since(last_) < kProgressSeconds || summary_.documents < told_ + options_.log_interval) return;
    const double seconds = seconds_since(start_);
    report.progress(fmt::format("Processed {} documents ({:.0f} docs/s, {:.1f} MB/s){}.", summary_.documents,
                                static_cast<double>(summary_.documents) / seconds,
                                static_cast<double>(summary_.bytes) / 1e6 / seconds, progress_.text()));
    last_ = SteadyClock::now();
    told_ = summary_.documents;
  }

  PreprocessSummary finish() {
    for (const auto& writer : writers_) {
      summary_.tokens.push_back(writer->tokens());
      summary_.sequences = std::max(summary_.sequences, writer->sequences());
    }
    if (std::all_of(summary_.tokens.begin(), summary_.tokens.end(), [](std::int64_t n) { return n == 0; })) {
      throw ConfigError(
          fmt::format("--input {}: there is no text in it: {} {} without text, {} {} no document. Look at "
                      "--input and --json-keys",
                      excerpt(join(options_.inputs, ",")), summary_.documents,
                      summary_.documents == 1 ? "document is" : "documents are", summary_.bad,
                      summary_.bad == 1 ? "line is" : "lines are"));
    }
    for (const auto& writer : writers_) writer->finish();
    return summary_;
  }

 private:
  void write(const EncodedDocument& document, const PreprocessReport& report) {
    if (!document.fault.empty()) {
      if (options_.strict) {
        throw IoError(document.fault + ". Nothing was written (--strict); correct the line, or leave --strict away");
      }
      if (++summary_.bad <= kBadLinesTold) report.bad_line(document.fault);
      return;
    }
    if (document.continues || continues_) {
      write_part(document);
      return;
    }
    bool any = false;
    for (std::size_t key = 0; key < document.texts.size(); ++key) {
      any |= !document.texts[key].empty();
      for (const auto& sequence : document.texts[key]) writers_[key]->add_sequence(sequence);
      writers_[key]->end_document();
    }
    count(document, any);
  }

  // A part of a plain text, which has one key and no sentences.
  void write_part(const EncodedDocument& document) {
    for (const auto& sequence : document.texts[0]) writers_[0]->add_part(sequence);
    continues_ = document.continues;
    if (continues_) return;
    writers_[0]->end_sequence();
    writers_[0]->end_document();
    count(document, true);
  }

  void count(const EncodedDocument& document, bool any) {
    ++summary_.documents;
    summary_.empty += any ? 0 : 1;
    summary_.eod_inside += document.eod_inside ? 1 : 0;
    summary_.lone_surrogates += document.lone_surrogates;
  }

  const PreprocessOptions& options_;
  PreprocessSummary summary_;
  std::vector<std::unique_ptr<IndexedDatasetWriter>> writers_;
  SteadyClock::time_point start_;
  SteadyClock::time_point last_ = start_;
  InputProgress progress_;
  std::int64_t told_ = 0;
  bool continues_ = false;  // a plain text is not at its end
};

void check_options(const PreprocessOptions& options) {
  check_json_keys(options.encoder.json_keys);
  if (options.workers < 1 || options.workers > kMostWorkers) {
    throw ConfigError(fmt::format("--workers: expected 1 to {}, got {}", kMostWorkers, options.workers));
  }
  if (options.log_interval < 1) {
    throw ConfigError(fmt::format("--log-interval: expected at least 1, got {}", options.log_interval));
  }
  if (options.output_prefix.empty()) throw ConfigError("--output-prefix: expected a name, got an empty one");
  for (const std::string& key : options.encoder.json_keys) {
    if (key.find('/') != std::string::npos) {
      throw ConfigError(fmt::format("--json-keys: \"{}\" would be part of a file name; expected no '/'", excerpt(key)));
    }
  }
}

// What is allowed, but seldom meant.
void warn_of_doubtful_options(const PreprocessOptions& options, const Tokenizer& tokenizer,
                              const std::function<void(const std::string&)>& notice) {
  const EncoderOptions& encoder = options.encoder;
  const bool null = options.tokenizer.type == TokenizerType::null;
  if (!encoder.append_eod) {
    notice(
        "without --append-eod no token marks the end of a document: GPT reads across it, and --reset-position-ids, "
        "--reset-attention-mask and --eod-mask-loss will find no boundary in these files");
  }
  if (encoder.keep_newlines && !encoder.split_sentences) {
    notice("--keep-newlines has no effect without --split-sentences");
  }
  if (null && !(options.tokenizer.vocab_file.empty() && options.tokenizer.merge_file.empty())) {
    notice("--vocab-file and --merge-file have no effect with --tokenizer-type NullTokenizer");
  }
  if (!null && options.tokenizer.vocab_size > 0 && options.tokenizer.vocab_size != tokenizer.vocab_size()) {
    notice(fmt::format("--vocab-size {} has no effect: {} has {} tokens", options.tokenizer.vocab_size,
                       needs_tokenizer_model(options.tokenizer.type) ? options.tokenizer.model_file.string()
                                                                     : options.tokenizer.vocab_file.string(),
                       tokenizer.vocab_size()));
  }
}

void warn_of_doubtful_text(const PreprocessSummary& summary, const std::function<void(const std::string&)>& notice) {
  if (summary.lone_surrogates > 0) {
    notice(describe_lone_surrogates(summary.lone_surrogates));
  }
  for (std::size_t i = 0; i < summary.tokens.size(); ++i) {
    if (summary.tokens[i] == 0) notice(fmt::format("{}: no document has text under this key", summary.prefixes[i]));
  }
  if (summary.sequences > summary.documents) {
    notice(fmt::format(
        "{} documents hold {} sequences, one for each sentence: GPT training shuffles sequences, so sentences "
        "of one document do not stay together. Leave --split-sentences away, or join the lists",
        summary.documents, summary.sequences));
  }
  if (summary.eod_inside > 0) {
    notice(fmt::format("the end-of-document token stands inside {} documents: training will see more, shorter ones",
                       summary.eod_inside));
  }
}

void read_all(DocumentSource& source, const EncoderOptions& options, OrderedWork<Batch>& work) {
  Batch batch;
  RawDocument document;
  while (source.next(document)) {
    if (document.line == 0 && options.json_keys.size() > 1) {
      throw ConfigError(
          fmt::format("--json-keys: expected one key for plain text files, got several, and {} is plain text. "
                      "Give JSON lines, or one key",
                      place_of(document)));
    }
    batch.bytes += static_cast<std::int64_t>(document.text.size());
    batch.raw.push_back(std::move(document));
    if (batch.bytes < static_cast<std::int64_t>(kBatchBytes)) continue;
    const auto bytes = static_cast<std::size_t>(batch.bytes);
    if (!work.put(std::exchange(batch, {}), bytes)) return;
  }
  if (!batch.raw.empty() && !work.put(std::move(batch), 0)) return;
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
  std::vector<std::string> lines = {fmt::format(
      "Processed {} documents ({:.1f} MB) in {:.1f} s, {:.1f} MB/s; {} of them empty. Skipped: {} bad lines, {} "
      "files that are no text.",
      summary.documents, megabytes, seconds, megabytes / seconds, summary.empty, summary.bad, summary.passed_over)};
  for (std::size_t i = 0; i < summary.prefixes.size(); ++i) {
    lines.push_back(fmt::format("{0} tokens: {1}.bin and .idx; train with --data-path {1}", summary.tokens[i],
                                summary.prefixes[i]));
  }
  return lines;
}

PreprocessSummary preprocess(const PreprocessOptions& options, const PreprocessReport& told,
                             const std::atomic<bool>& interrupted) {
  std::mutex mutex;  // notices come from the reading thread
  const auto guarded = [&](const std::function<void(const std::string&)>& tell) {
    return [&mutex, &tell](const std::string& line) {
      const std::lock_guard lock(mutex);
      if (tell) tell(line);
    };
  };
  const PreprocessReport report{guarded(told.progress), guarded(told.bad_line), guarded(told.notice)};
  check_options(options);
  const auto tokenizer = make_tokenizer(options.tokenizer);
  warn_of_doubtful_options(options, *tokenizer, report.notice);
  auto files = find_input_files(options.inputs, report.notice);
  Writers writers(options, token_type_for_vocab(tokenizer->vocab_size()), files);
  const ReadContext context{interrupted, report.notice, writers.consumed()};
  // A sentence may lie across the end of a piece.
  DocumentSource source(std::move(files), {.pieces = !options.encoder.split_sentences && tokenizer->takes_parts()},
                        context);
  OrderedWork<Batch> work(static_cast<std::size_t>(options.workers) * 4, kBytesAtWork);
  {
    Threads threads{work, {}};
    threads.all.push_back(guarded_thread(work, [&] { read_all(source, options.encoder, work); }));
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
  summary.passed_over = source.passed_over();
  warn_of_doubtful_text(summary, report.notice);
  return summary;
}

}  // namespace ringtron
