// train_tokenizer: learns a byte-level BPE vocabulary from text and writes GPT-2's two files.
#include "command_line.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/pending_file.h"
#include "ringtron/tokenizer/bpe_trainer.h"
#include "ringtron/tools/document_texts.h"
#include "ringtron/tools/input_progress.h"
#include "ringtron/tools/json_line.h"
#include "ringtron/tools/output_place.h"

namespace {

using namespace ringtron;

struct Options {
  std::vector<std::string> inputs, json_keys = {"text"};
  std::string output_dir, output_prefix;
  BpeTrainerOptions trainer{.vocab_size = 8000};
};

void declare(CLI::App& app, Options& options) {
  app.add_option("--input", options.inputs, kInputHelp)->required();
  app.add_option("--json-keys", options.json_keys, "Keys to read from JSON lines")->capture_default_str();
  app.add_option("--vocab-size", options.trainer.vocab_size, "Tokens, <|endoftext|> included")->capture_default_str();
  app.add_option("--min-count", options.trainer.min_count, "Merge no pair that is rarer")->capture_default_str();
  auto* folder = app.add_option("--output-dir", options.output_dir, "Write DIR/vocab.json and DIR/merges.txt");
  auto* prefix =
      app.add_option("--output-prefix", options.output_prefix, "Write PREFIX-vocab.json and PREFIX-merges.txt");
  folder->excludes(prefix);
}

// Whether the last line is two seconds old; if so, it counts as renewed.
bool due(SteadyClock::time_point& last) {
  if (seconds_since(last) < 2) return false;
  last = SteadyClock::now();
  return true;
}

int run(Options options) {
  if (options.output_dir.empty() && options.output_prefix.empty()) {
    throw ConfigError("expected --output-dir DIR or --output-prefix PREFIX: where do the files go?");
  }
  check_trainer_options(options.trainer);
  check_json_keys(options.json_keys);
  end_tidily();
  const auto warn = [](const std::string& line) { warn_line(line); };
  const bool folder = options.output_prefix.empty();
  const std::string base = folder ? options.output_dir + "/" : options.output_prefix + "-";
  const std::string vocab = base + "vocab.json", merges = base + "merges.txt";
  auto files = find_input_files(options.inputs, warn);
  for (const std::string& output : {vocab, merges}) refuse_input(output, files);
  make_parent_folder(folder ? "--output-dir" : "--output-prefix", vocab);
  PendingFile vocab_file(vocab), merge_file(merges);

  const auto start = SteadyClock::now();
  auto last = start;
  BpeTrainer trainer;
  InputProgress progress(files);
  const ReadContext context{interrupted, warn, progress.consumed()};
  const auto counts = for_each_text(std::move(files), options.json_keys, context, [&](std::string_view text) {
    trainer.add(text);
    if (due(last))
      print_line("read {:.1f} MB, {} words{}", trainer.bytes() / 1e6, trainer.distinct_words(), progress.text());
  });
  if (counts.skipped > 0) warn_line("{} bad lines were skipped: nothing was learned from them", counts.skipped);
  if (counts.lone_surrogates > 0) warn_line(describe_lone_surrogates(counts.lone_surrogates));
  if (trainer.bytes() == 0) {
    throw ConfigError(
        fmt::format("--input {}: expected text to learn from, got {} documents without any and {} bad lines. "
                    "Look at --input and --json-keys",
                    excerpt(join(options.inputs, ",")), counts.documents, counts.skipped));
  }
  options.trainer.progress = [&](std::int64_t tokens) {
    if (interrupted) throw IoError("interrupted; nothing was written");
    if (due(last)) print_line("made {} of {} tokens", tokens, options.trainer.vocab_size);
  };
  const BpeModel model = trainer.train(options.trainer);
  const std::int64_t made = std::ssize(model.tokens), asked = options.trainer.vocab_size;
  if (made < asked) warn_line("{} tokens instead of {}: no other pair is frequent; add text", made, asked);
  const Gpt2Texts texts = gpt2_texts(model);
  vocab_file.write(texts.vocabulary);
  merge_file.write(texts.merges);
  vocab_file.publish();
  merge_file.publish();
  print_line("{} tokens from {} documents ({:.1f} MB) in {:.1f} s: {} {}", made, counts.documents,
             trainer.bytes() / 1e6, seconds_since(start), vocab, merges);
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_main("train_tokenizer", [&] {
    CLI::App app("Learns a byte-level BPE vocabulary from text.", "train_tokenizer");
    Options options;
    declare(app, options);
    return parse_and_run(app, argc, argv, [&] { return run(options); });
  });
}
