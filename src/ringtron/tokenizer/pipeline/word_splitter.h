// Cuts a text into the words inside which a model works: the `pre_tokenizer` of a tokenizer.json.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/tokenizer/pipeline/json_part.h"
#include "ringtron/tokenizer/pipeline/text_pattern.h"
#include "ringtron/tokenizer/pipeline/word_rules.h"
#include "ringtron/tokenizer/pre_tokenizer.h"

namespace ringtron {

// One step: cuts each word that the step before gave into smaller ones, and may change it. Immutable.
class SplitStep {
 public:
  virtual ~SplitStep() = default;
  // Appends the words of `text`, of which none is empty. `at_start`: it begins where the whole text does.
  virtual void split(std::string_view text, bool at_start, std::vector<std::string>& words) const = 0;
};

// Immutable after construction, so any number of threads may share it.
class WordSplitter {
 public:
  WordSplitter() = default;  // the text is one word
  // Throws ConfigError on a kind that is not built, or a part that is missing or wrong.
  explicit WordSplitter(const JsonPart& json);
  // Whether the model's vocabulary is in GPT-2's byte alphabet; words are bytes nevertheless.
  bool is_byte_level() const { return byte_level_; }

  // Calls visit(std::string_view) on each word in order; none is empty. `at_start`: `text` begins where the whole text
  // does, that before special tokens were taken out. Requires: valid UTF-8.
  template <class Visitor>
  void for_each_word(std::string_view text, bool at_start, Visitor&& visit) const {
    if (text.empty()) return;
    if (words_ == Words::by_steps) return words_by_steps(text, at_start, visit);
    if (words_ == Words::gpt2) return ringtron::for_each_word(text, visit);
    for_each_word_by(rules_, text, visit);
  }

 private:
  enum class Words { by_steps, gpt2, by_rules };  // the last two: bytes are taken as they are

  void words_by_steps(std::string_view text, bool at_start, const std::function<void(std::string_view)>& visit) const;

  Words words_ = Words::by_steps;
  WordRules rules_;
  std::vector<std::shared_ptr<const SplitStep>> steps_;
  bool byte_level_ = false;
};

}  // namespace ringtron
