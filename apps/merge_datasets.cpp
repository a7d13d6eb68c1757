// merge_datasets: joins tokenized corpora into one, with the flags of Megatron's tool.
#include "ringtron/tools/merge_datasets.h"
#include "command_line.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"

namespace {

using namespace ringtron;

struct Flags {
  MergeOptions options;
  bool multimodal = false, split_sentences = false;
  std::vector<std::string> json_keys;
};

void declare(CLI::App& app, Flags& flags) {
  app.add_option("--input", flags.options.inputs,
                 "Folders, of which all pairs .bin and .idx are joined in the order of their names, or prefixes")
      ->required();
  app.add_option("--output-prefix", flags.options.output_prefix, "Writes PREFIX.bin and PREFIX.idx")->required();
  // Named in tutorials, but of other tools: refused with the right command.
  app.add_flag("--multimodal", flags.multimodal)->group("");
  app.add_option("--json-keys", flags.json_keys)->group("");
  app.add_flag("--split-sentences", flags.split_sentences)->group("");
}

int run(const Flags& flags) {
  if (flags.multimodal)
    throw ConfigError("--multimodal is not supported: modes of sequences would be lost. Leave it out");
  if (flags.split_sentences || !flags.json_keys.empty()) {
    throw ConfigError(
        "--json-keys and --split-sentences are for text, and merge_datasets joins token files. For text: preprocess_data "
        "--input FOLDER --output-prefix PREFIX --json-keys text --append-eod --vocab-file vocab.json --merge-file "
        "merges.txt");
  }
  end_tidily();
  const auto start = SteadyClock::now();
  const MergeSummary sums =
      merge_datasets(flags.options, [](const std::string& line) { print_line(line); }, interrupted);
  const std::string& prefix = flags.options.output_prefix;
  print_line(
      "{} corpora, {} documents, {} sequences, {} tokens in {:.1f} s: {}.bin and .idx; train with --data-path {}",
      sums.corpora, sums.documents, sums.sequences, sums.tokens, seconds_since(start), prefix, prefix);
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_main("merge_datasets", [&] {
    CLI::App app("Joins tokenized corpora into one.", "merge_datasets");
    Flags flags;
    declare(app, flags);
    return parse_and_run(app, argc, argv, [&] { return run(flags); });
  });
}
