#include "ringtron/tokenizer/bpe_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <queue>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/tokenizer/byte_to_unicode.h"
#include "ringtron/tokenizer/pre_tokenizer.h"

namespace ringtron {
namespace {

using Pair = std::pair<std::int32_t, std::int32_t>;

struct PairHash {
  std::size_t operator()(const Pair& pair) const {
    const auto key = static_cast<std::uint64_t>(pair.first) << 32 | static_cast<std::uint32_t>(pair.second);
    return (key ^ key >> 29) * 0x9E3779B97F4A7C15ull >> 16;
  }
};

struct Word {
  std::vector<std::int32_t> tokens;
  std::int64_t count;
};

struct PairInfo {
  std::int64_t count = 0;            // occurrences in the text
  std::vector<std::uint32_t> words;  // where it occurs; may hold repetitions and words it has left
};

// A pair with a count that may since have fallen. The largest count comes first, then the smallest ids.
struct Candidate {
  std::int64_t count;
  Pair pair;
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// All words and, kept up to date through each merge, the counts of neighbours in them.
class PairCounts {
 public:
  explicit PairCounts(std::vector<Word> words) : words_(std::move(words)) {
    for (std::uint32_t w = 0; w < words_.size(); ++w) {
      const std::vector<std::int32_t>& tokens = words_[w].tokens;
      for (std::size_t i = 0; i + 1 < tokens.size(); ++i) gain({tokens[i], tokens[i + 1]}, w);
    }
    announce_grown();
  }

  // The most frequent pair; a count of 0 if there is none.
  Candidate most_frequent() {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      const std::int64_t count = pairs_[best.pair].count;
      if (count == best.count) return best;
      queue_.pop();
      if (count > 0) queue_.push({count, best.pair});
    }
    return {0, {0, 0}};
  }

  void merge(const Pair& pair, std::int32_t result) {
    std::vector<std::uint32_t> where = std::move(pairs_[pair].words);
    std::sort(where.begin(), where.end());
    where.erase(std::unique(where.begin(), where.end()), where.end());
    for (const std::uint32_t w : where) merge_in_word(w, pair, result);
    pairs_.erase(pair);
    announce_grown();
  }

 private:
  void gain(const Pair& pair, std::uint32_t word) {
    PairInfo& info = pairs_[pair];
    info.count += words_[word].count;
    if (info.words.empty() || info.words.back() != word) info.words.push_back(word);
    grown_.push_back(pair);
  }

  void lose(const Pair& pair, std::uint32_t word) { pairs_[pair].count -= words_[word].count; }

  void merge_in_word(std::uint32_t w, const Pair& pair, std::int32_t result) {
    std::vector<std::int32_t>& tokens = words_[w].tokens;
    std::size_t kept = 0;  // tokens[0, kept) are done, tokens[i, end) are to come
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i + 1 == tokens.size() || tokens[i] != pair.first || tokens[i + 1] != pair.second) {
        tokens[kept++] = tokens[i];
        continue;
      }
      if (kept > 0) {
        lose({tokens[kept - 1], pair.first}, w);
        gain({tokens[kept - 1], result}, w);
      }
      if (i + 2 < tokens.size()) {
        lose({pair.second, tokens[i + 2]}, w);
        gain({result, tokens[i + 2]}, w);
      }
      tokens[kept++] = result;
      ++i;
    }
    tokens.resize(kept);
  }

  void announce_grown() {
    std::sort(grown_.begin(), grown_.end());
    grown_.erase(std::unique(grown_.begin(), grown_.end()), grown_.end());
    for (const Pair& pair : grown_) {
      const std::int64_t count = pairs_[pair].count;
      if (count > 0) queue_.push({count, pair});
    }
    grown_.clear();
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, PairInfo, PairHash> pairs_;
  std::vector<Pair> grown_;  // since the last announcement
  std::priority_queue<Candidate> queue_;
};

BpeModel byte_vocabulary() {
  BpeModel model;
  model.id_of_byte.resize(256);
  for (const unsigned char byte : bytes_in_character_order()) {
    model.id_of_byte[byte] = static_cast<std::int32_t>(model.tokens.size());
    model.tokens.emplace_back(1, static_cast<char>(byte));
  }
  return model;
}

}  // namespace

void check_trainer_options(const BpeTrainerOptions& options) {
  if (options.vocab_size < 257 || options.vocab_size > std::numeric_limits<std::int32_t>::max()) {
    throw ConfigError(fmt::format("--vocab-size: expected at least 257 (256 bytes and {}), at most 2^31-1, got {}",
                                  kEndOfText, options.vocab_size));
  }
  if (options.min_count < 1) {
    throw ConfigError(fmt::format("--min-count: expected at least 1, got {}", options.min_count));
  }
}

std::size_t BpeTrainer::Hash::operator()(std::string_view word) const { return hash64(word); }

void BpeTrainer::add(std::string_view text) {
  bytes_ += text.size();
  for_each_word(text, [this](std::string_view word) {
    const auto found = counts_.find(word);
    if (found != counts_.end()) {
      ++found->second;
    } else {
      counts_.emplace(word, 1);
    }
  });
}

BpeModel BpeTrainer::train(const BpeTrainerOptions& options) const {
  check_trainer_options(options);
  BpeModel model = byte_vocabulary();
  std::vector<Word> words;
  for (const auto& [text, count] : counts_) {
    Word word{{}, count};
    for (const char c : text) word.tokens.push_back(model.id_of_byte[static_cast<unsigned char>(c)]);
    words.push_back(std::move(word));
  }
  PairCounts pairs(std::move(words));
  // Two pairs may spell the same token ("a"+"bc", "ab"+"c"); it has one id, and both merges lead to it.
  std::unordered_map<std::string, std::int32_t> id_of_token;
  for (std::size_t id = 0; id < model.tokens.size(); ++id) id_of_token.emplace(model.tokens[id], id);
  while (static_cast<std::int64_t>(model.tokens.size()) + 1 < options.vocab_size) {
    const Candidate best = pairs.most_frequent();
    if (best.count < options.min_count) break;
    const std::string token = model.tokens[best.pair.first] + model.tokens[best.pair.second];
    const auto [found, is_new] = id_of_token.emplace(token, static_cast<std::int32_t>(model.tokens.size()));
    if (is_new) model.tokens.push_back(token);
    model.merges.push_back({best.pair.first, best.pair.second, found->second});
    pairs.merge(best.pair, found->second);
    if (options.progress) options.progress(static_cast<std::int64_t>(model.tokens.size()));
  }
  model.end_of_text = static_cast<std::int32_t>(model.tokens.size());
  model.tokens.emplace_back(kEndOfText);
  return model;
}

}  // namespace ringtron
