// Where a token comes from, for messages.
#pragma once

#include <cstdint>
#include <string>

namespace ringtron {

// One token of a corpus.
struct TokenPlace {
  std::string prefix;
  std::int64_t document = 0;
  std::int64_t position = 0;  // counted from the start of the document
  std::int64_t token = 0;
};

// Throws ConfigError that names prefix, document and position of a token outside [0, vocab_size).
[[noreturn]] void fail_token_outside(const TokenPlace& place, std::int64_t vocab_size);

}  // namespace ringtron
