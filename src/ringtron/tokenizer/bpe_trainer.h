// Learns a byte-level BPE vocabulary from text.
//
//   BpeTrainer trainer;
//   for (text : documents) trainer.add(text);
//   write_gpt2_vocab_files(trainer.train({.vocab_size = 8000}), "vocab.json", "merges.txt");
//
// The result is a function of the words and their counts only, not of the order in which they came. Ids: the
// 256 bytes in GPT-2's order, the merged tokens in order of rank, <|endoftext|> last.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ringtron/tokenizer/gpt2_vocab_files.h"

namespace ringtron {

struct BpeTrainerOptions {
  std::int64_t vocab_size = 0;                             // at least 257: the bytes and <|endoftext|>
  std::int64_t min_count = 2;                              // a pair that occurs less often is not merged
  std::function<void(std::int64_t tokens)> progress = {};  // called after each merge; may be empty
};

// Throws ConfigError on impossible options; train() does as well.
void check_trainer_options(const BpeTrainerOptions& options);

// Not thread-safe. Memory grows with the number of different words, not with the text.
class BpeTrainer {
 public:
  // Counts the words of one document.
  void add(std::string_view text);

  // Merges the most frequent pair of neighbours (of equals the one with the smallest ids) until the
  // vocabulary has `vocab_size` tokens or no pair is frequent enough; then it is smaller. Throws ConfigError
  // on impossible options.
  BpeModel train(const BpeTrainerOptions& options) const;

  std::size_t distinct_words() const { return counts_.size(); }
  std::uint64_t bytes() const { return bytes_; }  // of text added

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view word) const;
  };

  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> counts_;
  std::uint64_t bytes_ = 0;
};

}  // namespace ringtron
