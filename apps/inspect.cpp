// inspect: shows what a corpus or a checkpoint holds, and the samples that training will see.
#include <CLI/CLI.hpp>

#include <variant>

#include "command_line.h"
#include "ringtron/base/error.h"
#include "ringtron/base/result_line.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/compare_checkpoints.h"
#include "ringtron/checkpoint/describe_checkpoint.h"
#include "ringtron/config/parse.h"
#include "ringtron/data/dataset_split.h"
#include "ringtron/tools/inspect_data.h"

namespace {

using namespace ringtron;

constexpr const char* kExamples = R"(Examples:
  inspect data data/my_text_document
  inspect data data/my_text_document --samples 2 --seq-length 1024 --global-batch-size 32 --train-iters 500 \
      --vocab-file vocab.json --merge-file merges.txt
  inspect data data/my_text_document --samples 1000 --which valid --format json --split 99,1,0 ...
  inspect checkpoint checkpoints
  inspect compare checkpoints/iter_0000100 checkpoints/iter_0000200
)";

constexpr const char* kDataNotes = R"(
With --samples, all flags of pretrain_gpt are taken, with its defaults; the order depends on
  --seq-length, --global-batch-size, --train-iters or --train-samples, --eval-interval, --eval-iters, --seed, --split,
  --dataloader-type; and the text on --tokenizer-type, --vocab-file, --merge-file, --tokenizer-model (and the other flags of the tokenizer), --vocab-size.
The sample index is cached as training does (--data-cache-path).
)";

struct Flags {
  std::int64_t samples = 0;  // 0: only describe the corpus
  std::string which = "train", format = "text";
  std::string checkpoint, first, second;
};

void declare_data(CLI::App& app, Flags& flags) {
  app.add_option("--samples", flags.samples, "Print the first N samples of a split, as training consumes them")
      ->check(at_least(1));
  app.add_option("--which", flags.which, "train, valid or test")
      ->check(CLI::IsMember({"train", "valid", "test"}).description(""))
      ->capture_default_str();
  app.add_option("--format", flags.format, "text: ids and text; json: one object a line, ids only")
      ->check(CLI::IsMember({"text", "json"}).description(""))
      ->capture_default_str();
  app.allow_extras();
  app.footer(std::string(kDataNotes) + "\n" + kExamples);
}

int inspect_data(std::vector<std::string> words, const Flags& flags) {
  const bool plain = !words.empty() && !words[0].starts_with("-");
  if (plain) words.insert(words.begin(), "--data-path");
  const auto line = parse(words);
  if (const auto* help = std::get_if<HelpText>(&line)) {
    print_result(help->text);
    return kExitOk;
  }
  const Config& config = std::get<CommandLine>(line).config;
  if (flags.samples > 0) {
    const Split split = flags.which == "train" ? Split::train : flags.which == "valid" ? Split::valid : Split::test;
    const SampleFormat format = flags.format == "json" ? SampleFormat::json : SampleFormat::text;
    print_samples(config, {split, flags.samples, format}, [](const std::string& text) { print_result(text); });
    return kExitOk;
  }
  if (config.data.data_path.empty()) {
    throw ConfigError("expected the PREFIX of PREFIX.bin and PREFIX.idx behind `inspect data`, got none. See --help");
  }
  const Blend blend = parse_blend(config.data.data_path, plain ? "PREFIX" : "--data-path");
  for (const std::string& prefix : blend.prefixes) print_result(describe_corpus(prefix));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_main("inspect", [&] {
    CLI::App app("Shows corpora, samples and checkpoints.", "inspect");
    app.footer(kExamples);
    app.require_subcommand(0, 1);
    Flags flags;
    CLI::App* data = app.add_subcommand("data", "PREFIX [options]: size of a corpus, samples of a split");
    declare_data(*data, flags);
    CLI::App* checkpoint = app.add_subcommand("checkpoint", "Files, tensors and metadata of a checkpoint");
    checkpoint->add_option("DIR", flags.checkpoint, "A checkpoint, or the folder of --save")->required();
    CLI::App* compare =
        app.add_subcommand("compare", "What differs between two checkpoints; exit code 1 if anything does");
    compare->add_option("FIRST", flags.first, "A checkpoint, or the folder of --save")->required();
    compare->add_option("SECOND", flags.second, "Another one")->required();
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& e) {
      return print_help(app, e);
    } catch (const CLI::ParseError& e) {
      throw ConfigError(excerpt(e.what(), 400) + ". See --help");
    }
    if (*data) return inspect_data(data->remaining(), flags);
    if (*checkpoint) {
      print_result(describe_checkpoint(flags.checkpoint));
      return kExitOk;
    }
    if (*compare) {
      const CheckpointDifference difference = compare_checkpoints(flags.first, flags.second);
      print_result(difference.text);
      return difference.is_none ? kExitOk : kExitFailure;
    }
    print_result(app.help());
    return kExitUsage;
  });
}
