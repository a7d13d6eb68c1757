#include "ringtron/tools/inspect_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/text.h"
#include "ringtron/data/sampler.h"
#include "ringtron/tools/document_lengths.h"
#include "ringtron/train/data_config.h"

namespace ringtron {
namespace {

// The order depends on all of these; training has the same rules, for more flags.
void check(const Config& config, const SampleRequest& request) {
  const BatchConfig& batch = config.batch;
  const DataConfig& data = config.data;
  if (request.samples < 1) throw ConfigError(fmt::format("--samples: expected at least 1, got {}", request.samples));
  if (data.mock_data) throw ConfigError("--mock-data: expected files to inspect; give a PREFIX in its place");
  if (data.data_path.empty() && data.train_data_path.empty() && data.valid_data_path.empty() &&
      data.test_data_path.empty()) {
    throw ConfigError("expected the PREFIX of PREFIX.bin and PREFIX.idx, got none; put it behind `inspect data`");
  }
  if (config.model.seq_length < 1) throw ConfigError("--samples: expected --seq-length, got none; give training's");
  if (batch.global_batch_size < 1) {
    throw ConfigError(
        "--samples: expected --global-batch-size, got none; give training's (without the flag it is "
        "--micro-batch-size times the number of data-parallel ranks)");
  }
  if ((batch.train_iters > 0) == (batch.train_samples > 0)) {
    throw ConfigError(
        fmt::format("--samples: expected --train-iters or --train-samples, got {}; give the one that "
                    "training has",
                    batch.train_iters > 0 ? "both" : "neither"));
  }
}

// A token that does not fit 32 bits reads as -1, which no corpus holds: it is named as it is in the file.
std::string show_json(const Dataset& dataset, std::int64_t number, std::int64_t place_in_dataset) {
  const std::vector<std::int32_t> ids = dataset.sample(place_in_dataset);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) {
      fail_token_outside(dataset.locate(place_in_dataset, static_cast<std::int64_t>(i)), std::int64_t{1} << 31);
    }
  }
  return fmt::format("{{\"sample\":{},\"tokens\":[{}]}}", number, fmt::join(ids, ","));
}

std::string show(const Dataset& dataset, std::int64_t number, std::int64_t place_in_dataset,
                 const Tokenizer& tokenizer) {
  const std::vector<std::int32_t> ids = dataset.sample(place_in_dataset);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= tokenizer.vocab_size()) {
      fail_token_outside(dataset.locate(place_in_dataset, static_cast<std::int64_t>(i)), tokenizer.vocab_size());
    }
  }
  const TokenPlace start = dataset.locate(place_in_dataset, 0);
  return fmt::format("sample {} (starts in document {} of {}, token {})\nids: {}\ntext: {}", number, start.document,
                     excerpt(start.prefix, 400), start.position, fmt::join(ids, " "), tokenizer.decode(ids));
}

// Of one set of the split; `name`: of one of several validation sets.
void print_samples_of(const DataSources& sources, const std::string& name, const Config& config,
                      const SampleRequest& request, const std::function<void(const std::string&)>& print) {
  const bool json = request.format == SampleFormat::json;
  const auto tokenizer = json ? nullptr : tokenizer_of(config.data);
  const std::int64_t wanted = wanted_samples(config)[static_cast<std::size_t>(request.split)];
  const auto dataset = open_split(sources, request.split, wanted,
                                  {.opened = {}, .left_out = [](const std::string& sentence) { warn_line(sentence); }});
  if (dataset == nullptr) {
    throw ConfigError(fmt::format(
        "--which {}: expected a split with samples, got {}", split_name(request.split),
        wanted == 0                         ? "none wanted; raise --eval-iters"
        : has_share(sources, request.split) ? "no tokens for it in any corpus; see the warning above"
        : config.data.data_path.empty()     ? fmt::format("none; give --{}-data-path", split_name(request.split))
                                            : "no share of the data; raise its number in --split"));
  }
  Sampler sampler;
  sampler.order = config.data.dataloader_type == DataloaderType::cyclic && wanted != kWholeSplit ? SampleOrder::cyclic
                                                                                                 : SampleOrder::single;
  sampler.dataset_size = dataset->size();
  sampler.seed = static_cast<std::uint64_t>(config.precision.seed);
  const std::int64_t count =
      sampler.order == SampleOrder::cyclic ? request.samples : std::min(request.samples, dataset->size());
  if (!json) {
    print(fmt::format("{}{}: {} samples of {} + 1 tokens, training takes {}; the first {}:", split_name(request.split),
                      name.empty() ? "" : "-" + name, grouped(dataset->size()), dataset->sequence_length(),
                      wanted == kWholeSplit ? "all each time" : grouped(wanted), grouped(count)));
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t place = sampler.dataset_sample(i);
    print(json ? show_json(*dataset, i, place) : show(*dataset, i, place, *tokenizer));
  }
}

}  // namespace

std::string describe_corpus(const std::string& prefix) {
  const IndexedDataset corpus(prefix);
  const auto size = [&](const char* ending) { return human_bytes(std::filesystem::file_size(prefix + ending)); };
  return fmt::format(
      "{}\n  documents   {}\n  sequences   {}\n  tokens      {}\n  token type  {}\n  files       {} .bin, "
      "{} .idx\n{}",
      excerpt(prefix, 400), grouped(corpus.documents()), grouped(corpus.sequences()), grouped(corpus.tokens()),
      type_name(corpus.token_type()), size(".bin"), size(".idx"), describe_lengths(document_lengths(corpus)));
}

void print_samples(const Config& config, const SampleRequest& request,
                   const std::function<void(const std::string&)>& print) {
  check(config, request);
  if (request.split != Split::valid) return print_samples_of(sources_of(config), "", config, request, print);
  for (const ValidationSet& set : validation_sets(config)) {
    print_samples_of(set.sources, set.name, config, request, print);
  }
}

}  // namespace ringtron
