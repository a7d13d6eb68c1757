// What `inspect data` prints: the size of a corpus, and the samples of a split as training consumes them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "ringtron/config/config.h"
#include "ringtron/data/dataset_split.h"

namespace ringtron {

// Documents, sequences, tokens, token type, file sizes and lengths of documents of PREFIX.bin and PREFIX.idx, some
// lines without a last newline. Throws ConfigError if they are not a corpus.
std::string describe_corpus(const std::string& prefix);

enum class SampleFormat {
  text,  // number, place, ids and text of each sample
  json,  // {"sample":0,"tokens":[...]} a line; needs no tokenizer
};

struct SampleRequest {
  Split split = Split::train;
  std::int64_t samples = 1;
  SampleFormat format = SampleFormat::text;
};

// Gives `print` the first samples of a split, a line (or in text form several, without a last newline) at a time: those
// that training with `config` consumes first, in that order. Fewer than asked for if the dataset ends. `config` may be
// as parsed. Like training it caches the sample index. Throws ConfigError for a flag that is missing, a split
// without samples, or a token that the tokenizer does not have.
void print_samples(const Config& config, const SampleRequest& request,
                   const std::function<void(const std::string&)>& print);

}  // namespace ringtron
