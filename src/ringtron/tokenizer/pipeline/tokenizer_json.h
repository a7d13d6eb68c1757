// A tokenizer.json with the files beside it, as transformers' AutoTokenizer takes them together.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/tokenizer/pipeline/added_tokens.h"
#include "ringtron/tokenizer/pipeline/normalizer.h"
#include "ringtron/tokenizer/pipeline/token_decoder.h"
#include "ringtron/tokenizer/pipeline/word_model.h"
#include "ringtron/tokenizer/pipeline/word_splitter.h"

namespace ringtron {

struct TokenizerParts {
  Normalizer normalizer;
  WordSplitter splitter;
  std::unique_ptr<WordModel> model;
  TokenDecoder decoder;
  std::vector<AddedToken> added;            // in order of their ids
  std::vector<std::int32_t> before, after;  // the ids that every text begins and ends with
  std::int32_t end_of_text = 0;             // eos_token of tokenizer_config.json
  std::uint64_t content = 0;                // hash of all that the ids depend on
};

// `path`: a folder with tokenizer.json and tokenizer_config.json (or special_tokens_map.json), or a tokenizer.json with
// those beside it. Throws ConfigError: no such file (a name of the hub among them), damaged JSON, a part of a kind that
// is not built (which), no eos_token. `further_special`: tokens that are added behind those of the files.
TokenizerParts read_tokenizer_json(const std::filesystem::path& path, const std::vector<std::string>& further_special);

}  // namespace ringtron
