// gpt_samples PREFIX SEQ_LENGTH SEED SAMPLES SPLIT PART COUNT: prints the first COUNT samples of a GptDataset
// as JSON arrays, for compare_with_megatron_core.py. A tool of the tests; people use `inspect data`.
#include <algorithm>
#include <memory>
#include <string>

#include <fmt/ranges.h>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/data/gpt_dataset.h"

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("gpt_samples", [&] {
    if (argc != 8) throw ConfigError("expected PREFIX SEQ_LENGTH SEED SAMPLES SPLIT PART COUNT");
    const auto corpus = std::make_shared<IndexedDataset>(argv[1]);
    const int part = std::stoi(argv[6]);
    const auto range = split_sequences(argv[5], corpus->sequences()).at(static_cast<std::size_t>(part));
    if (!range) throw ConfigError("this part of the split is empty; give it a share");
    GptDatasetOptions options;
    options.split = static_cast<Split>(part);
    options.index = {*range, std::stoll(argv[2]), static_cast<std::uint32_t>(std::stoul(argv[3])), std::stoll(argv[4])};
    const GptDataset dataset(corpus, options);
    const std::int64_t count = std::min<std::int64_t>(dataset.size(), std::stoll(argv[7]));
    for (std::int64_t i = 0; i < count; ++i) print_line("[{}]", fmt::join(dataset.sample(i), ", "));
    return kExitOk;
  });
}
