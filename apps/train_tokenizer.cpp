// train_tokenizer: learns a byte-level BPE vocabulary from text and writes GPT-2's two files.
#include "command_line.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/tokenizer/bpe_trainer.h"
#include "ringtron/tokenizer/training_text.h"

namespace {

using namespace ringtron;

struct Options {
  std::vector<std::string> inputs, json_keys = {"text"};
  std::string output_dir, output_prefix;
  BpeTrainerOptions trainer{.vocab_size = 8000};
};

void declare(CLI::App& app, Options& options) {
  app.add_option("--input", options.inputs, "Text files, .jsonl files, folders or patterns")->required();
  app.add_option("--json-keys", options.json_keys, "Keys of .jsonl lines to read")->capture_default_str();
  app.add_option("--vocab-size", options.trainer.vocab_size, "Tokens, <|endoftext|> included")
      ->capture_default_str();
  app.add_option("--min-count", options.trainer.min_count, "Merge no pair that is rarer")
      ->capture_default_str();
  auto* folder =
      app.add_option("--output-dir", options.output_dir, "Write DIR/vocab.json and DIR/merges.txt");
  auto* prefix = app.add_option("--output-prefix", options.output_prefix,
                                "Write PREFIX-vocab.json and PREFIX-merges.txt");
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
  const std::string base =
      options.output_dir.empty() ? options.output_prefix + "-" : options.output_dir + "/";
  const std::filesystem::path vocab = base + "vocab.json", merges = base + "merges.txt";
  const auto start = SteadyClock::now();
  BpeTrainer trainer;
  auto last = start;
  for (const auto& file : find_text_files(options.inputs)) {
    for_each_document(file, options.json_keys, [&](std::string_view text) {
      trainer.add(text);
      if (due(last)) print_line("read {:.1f} MB, {} words", trainer.bytes() / 1e6, trainer.distinct_words());
    });
  }
  if (trainer.bytes() == 0) throw ConfigError("--input: expected text to learn from, got empty files");
  options.trainer.progress = [&](std::int64_t tokens) {
    if (due(last)) print_line("made {} of {} tokens", tokens, options.trainer.vocab_size);
  };
  const BpeModel model = trainer.train(options.trainer);
  const std::int64_t made = std::ssize(model.tokens), asked = options.trainer.vocab_size;
  if (made < asked) warn_line("{} tokens instead of {}: no other pair is frequent; add text", made, asked);
  if (vocab.has_parent_path()) std::filesystem::create_directories(vocab.parent_path());
  write_gpt2_files(model, vocab, merges);
  print_line("{} tokens from {:.1f} MB in {:.1f} s: {} {}", made, trainer.bytes() / 1e6, seconds_since(start),
             vocab.string(), merges.string());
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
