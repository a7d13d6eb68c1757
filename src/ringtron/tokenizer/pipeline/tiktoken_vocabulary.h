// Vocabularies of tiktoken: tokens are bytes, and two neighbours merge if together they are a token, the one of the
// lowest rank first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ringtron/tokenizer/bpe_merger.h"
#include "ringtron/tokenizer/pipeline/word_model.h"

namespace ringtron {

// The bytes of each rank, from a .json as Megatron-LM's TikTokenizer has it ([{"rank", "token_bytes", "token_str"},
// ...], bytes in base64) or a .tiktoken file ("BASE64 RANK" a line). Throws ConfigError: a file that is missing or in
// neither format, ranks other than 0..N-1 in order, a token that comes twice, a byte that is no token.
std::vector<std::string> read_tiktoken_file(const std::filesystem::path& file);

// Of the tokens with ranks 0..N-1, whose ids are rank + first_id.
class TikTokenModel final : public WordModel {
 public:
  TikTokenModel(const std::vector<std::string>& tokens, std::int32_t first_id);
  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const override;

 private:
  BpeMerger merger_;
  std::vector<std::int32_t> id_of_byte_;
};

}  // namespace ringtron
