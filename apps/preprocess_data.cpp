// preprocess_data: tokenizes text into the .bin and .idx files that training reads, with the flags of
// Megatron's tool.
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>

#include "command_line.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/tools/preprocess.h"

namespace {

using namespace ringtron;

struct Flags {
  PreprocessOptions options;
  std::string tokenizer{word_of(PreprocessOptions{}.tokenizer.type)};
  std::string tiktoken_pattern{word_of(TikTokenPattern::v2)};
  bool no_special_ids = false;
  int partitions = 1;
  std::string language = "english";
  bool keep_sequential_samples = false;
};

void declare(CLI::App& app, Flags& flags) {
  PreprocessOptions& o = flags.options;
  app.add_option("--input", o.inputs, kInputHelp)->required();
  app.add_option("--json-keys", o.encoder.json_keys, "Keys to read from JSONL; one output each")->capture_default_str();
  app.add_flag("--split-sentences", o.encoder.split_sentences,
               "One sequence for each sentence, by rules of our own (not NLTK); outputs are named _sentence");
  app.add_flag("--keep-newlines", o.encoder.keep_newlines, "Keep white space between sentences");
  app.add_option("--lang", flags.language, "Language of --split-sentences; its rules are the same for all")
      ->capture_default_str();
  app.add_flag("--append-eod", o.encoder.append_eod, "End each document with the end-of-document token (GPT needs it)");
  app.add_option("--tokenizer-type", flags.tokenizer,
                 fmt::format("One of {}", fmt::join(kWordsOf<TokenizerType>, ", ")))
      ->capture_default_str();
  app.add_option("--vocab-file", o.tokenizer.vocab_file, "vocab.json of GPT2BPETokenizer");
  app.add_option("--merge-file", o.tokenizer.merge_file, "merges.txt of GPT2BPETokenizer");
  app.add_option(
      "--tokenizer-model", o.tokenizer.model_file,
      "tokenizer.model of SentencePieceTokenizer, GPTSentencePieceTokenizer and Llama2Tokenizer; the folder of "
      "HuggingFaceTokenizer's tokenizer.json; the vocabulary of TikTokenizer");
  app.add_option("--vocab-extra-ids", o.tokenizer.extra_ids, "Further ids of SentencePieceTokenizer");
  app.add_option("--tiktoken-pattern", flags.tiktoken_pattern, "How TikTokenizer cuts a text into words: v1 or v2")
      ->check(CLI::IsMember(std::vector<std::string>{"v1", "v2"}))
      ->capture_default_str();
  app.add_option("--tiktoken-num-special-tokens", o.tokenizer.tiktoken_special_count, "The first ids of TikTokenizer")
      ->check(CLI::Range(7, 1 << 20))
      ->capture_default_str();
  app.add_option("--tokenizer-special-tokens", o.tokenizer.special_tokens,
                 "Names of TikTokenizer's first ids, or further special tokens of HuggingFaceTokenizer");
  app.add_flag("--tokenizer-hf-no-include-special-tokens", flags.no_special_ids,
               "HuggingFaceTokenizer: no ids before and behind a text");
  app.add_option("--vocab-size", o.tokenizer.vocab_size, "Number of ids of NullTokenizer or TikTokenizer");
  app.add_option("--output-prefix", o.output_prefix, "Writes PREFIX_KEY_document.bin and .idx")->required();
  o.workers = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  app.add_option("--workers", o.workers, "Threads")->capture_default_str();
  app.add_option("--log-interval", o.log_interval, "Documents between progress lines")->capture_default_str();
  app.add_flag("--strict", o.strict, "Stop at the first bad line and write nothing");
  app.add_option("--partitions", flags.partitions, "Accepted, no effect: the output never depends on it");
  app.add_flag("--keep-sequential-samples", flags.keep_sequential_samples,
               "Accepted, no effect: the order is always kept");
}

int run(const Flags& flags) {
  end_tidily();
  const auto start = SteadyClock::now();
  const PreprocessReport report{[](const std::string& line) { print_line(line); },
                                [](const std::string& line) { warn_line(line + "; skipped"); },
                                [](const std::string& line) { warn_line(line); }};
  if (flags.language != "english") {
    warn_line("--lang {} has no effect: the rules of --split-sentences are the same for all languages",
              excerpt(flags.language));
  }
  PreprocessOptions options = flags.options;
  options.tokenizer.type = tokenizer_type(flags.tokenizer);
  options.tokenizer.tiktoken_pattern = *find_choice<TikTokenPattern>(flags.tiktoken_pattern);
  options.tokenizer.special_ids = !flags.no_special_ids;
  const PreprocessSummary summary = preprocess(options, report, interrupted);
  if (summary.bad > 0)
    warn_line("{} bad lines were skipped and are in no output; --strict stops at the first", summary.bad);
  for (const std::string& line : describe(summary, seconds_since(start))) print_line(line);
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_main("preprocess_data", [&] {
    CLI::App app("Tokenizes text for training.", "preprocess_data");
    Flags flags;
    declare(app, flags);
    return parse_and_run(app, argc, argv, [&] { return run(flags); });
  });
}
