// What a tokenizer.json does to a text before it is cut: its `normalizer`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ringtron/tokenizer/pipeline/json_part.h"
#include "ringtron/tokenizer/pipeline/normal_form.h"
#include "ringtron/tokenizer/pipeline/text_pattern.h"

namespace ringtron {

// Immutable after construction, so any number of threads may share it.
class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  // Throws ConfigError on a kind that is not built, or a part that is missing or wrong.
  explicit Normalizer(const JsonPart& json);

  bool changes_nothing() const { return steps_.empty(); }

  // `text`, or `storage` with the changed one. Requires: valid UTF-8.
  std::string_view apply(std::string_view text, std::string& storage) const;

 private:
  enum class Kind { nfc, nfd, nfkc, nfkd, lowercase, prepend, replace, strip };
  struct Step {
    Kind kind;
    std::string content = {};               // of prepend and replace
    std::vector<TextPattern> pattern = {};  // of replace: one
    bool left = false, right = false;       // of strip
  };

  void add(const JsonPart& json);
  static bool run(const Step& step, std::string_view text, std::string& out);  // false: nothing changed

  std::vector<Step> steps_;
};

// {"String": TEXT} or {"Regex": EXPRESSION}, as tokenizer.json writes patterns.
TextPattern pattern_of(const JsonPart& json);

}  // namespace ringtron
