// Tokens back to text: the `decoder` of a tokenizer.json.
#pragma once

#include <string>
#include <vector>

#include "ringtron/tokenizer/pipeline/json_part.h"
#include "ringtron/tokenizer/pipeline/text_pattern.h"

namespace ringtron {

// Immutable after construction, so any number of threads may share it.
class TokenDecoder {
 public:
  TokenDecoder() = default;  // tokens with spaces between
  // Throws ConfigError on a kind that is not built, or a part that is missing or wrong.
  explicit TokenDecoder(const JsonPart& json);
  static TokenDecoder joined();  // tokens without anything between

  std::string text(std::vector<std::string> tokens) const;

 private:
  enum class Kind { byte_level, replace, byte_fallback, fuse, strip, metaspace };
  struct Step {
    Kind kind;
    std::string content = {};               // of replace, strip, metaspace
    std::vector<TextPattern> pattern = {};  // of replace: one
    std::int64_t start = 0, stop = 0;       // of strip: the most characters there
    bool first_loses_mark = false;          // of metaspace
  };

  void add(const JsonPart& json);
  static void run(const Step& step, std::vector<std::string>& tokens);

  std::vector<Step> steps_;
  bool spaces_between_ = true;
};

}  // namespace ringtron
