// How a corpus is divided into training, validation and test parts, and how many samples each must give.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

enum class Split { train = 0, valid = 1, test = 2 };
inline constexpr int kSplitCount = 3;

// "train", "valid", "test".
const char* split_name(Split split);

struct IndexRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

// Megatron's rule when --split is not given.
inline constexpr std::string_view kDefaultSplit = "969, 30, 1";

// Parses "99,1,0" as Megatron does (any text between the numbers, missing ones are 0) and divides `sequences`
// in that order; a part without a share is empty (nullopt). Throws ConfigError for text without a positive
// number or with more than three.
std::array<std::optional<IndexRange>, kSplitCount> split_sequences(std::string_view split, std::int64_t sequences);

// What the sample counts depend on.
struct TrainingLength {
  std::int64_t train_iters = 0;
  std::optional<std::int64_t> train_samples;  // takes precedence over train_iters
  std::int64_t global_batch_size = 1;
  std::int64_t eval_interval = 1000;
  std::int64_t eval_iters = 0;
  std::int64_t eval_global_batch_size = 1;
  std::int64_t start_eval_at_iter = 0;
  bool full_validation = false;
};

// Of a split that is wanted whole: each sample once.
inline constexpr std::int64_t kWholeSplit = std::numeric_limits<std::int64_t>::max();

// Samples wanted of each split. Evaluations are counted by train_iters, or if that is 0 by the steps that train_samples
// give. Of validation with full_validation: kWholeSplit.
std::array<std::int64_t, kSplitCount> wanted_samples(const TrainingLength& length);

// The words behind a flag of data: "P", "P1 P2 P3" or "w1 P1 w2 P2". Without weights `weights` is empty: each corpus
// counts by the samples that it gives.
struct Blend {
  std::vector<std::string> prefixes;
  std::vector<double> weights;  // normalized()
};

// Weights are what Python's float() reads. Throws ConfigError where some are numbers and some are not, and for a
// weight that is not above 0 and finite; it names `flag`, the one that the user gave.
Blend parse_blend(std::span<const std::string> words, std::string_view flag);

// "0.5", "50%", "inf": a word that is more likely meant as a weight than as a prefix.
bool looks_like_weight(std::string_view word);

// Each weight divided by the sum of all, which is added up in the order of numpy.sum: the last digit of a weight
// can decide which corpus comes next.
std::vector<double> normalized(std::vector<double> weights);

// Samples to ask of a corpus so that a blend of `wanted` samples does not run out of it: half a percent to
// spare.
std::int64_t wanted_of_corpus(std::int64_t wanted, double weight, double surplus = 0.005);

}  // namespace ringtron
