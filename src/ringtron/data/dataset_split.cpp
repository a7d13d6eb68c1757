#include "ringtron/data/dataset_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

// The whole of `text` as Python's float() reads it, or nothing; no infinities, which no weight can be.
std::optional<double> parse_number(std::string_view text) {
  text = trim(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  // from_chars reads "inf" and "nan" too; a number starts like one.
  const auto digit = text.find_first_of("0123456789");
  if (digit == std::string_view::npos || digit > text.find_first_not_of("-.")) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    // Too small is 0; too large is no weight.
    return text.find("e-") != std::string_view::npos || text.find("E-") != std::string_view::npos ? std::optional(0.0)
                                                                                                  : std::nullopt;
  }
  return value;
}

// "inf", "nan", "1e999": what float() reads, but no weight.
bool is_beyond_numbers(std::string_view word) {
  std::string text = lower(trim(word));
  if (text.starts_with('+') || text.starts_with('-')) text.erase(0, 1);
  if (text == "inf" || text == "infinity" || text == "nan") return true;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc::result_out_of_range && end == text.data() + text.size() && !parse_number(text);
}

// numpy.sum of contiguous doubles: blocks of at most 128, eight sums side by side in each.
double numpy_sum(std::span<const double> values) {
  constexpr std::size_t kBlock = 128, kLanes = 8;
  const std::size_t n = values.size();
  if (n > kBlock) {
    const std::size_t half = n / 2 - n / 2 % kLanes;
    return numpy_sum(values.first(half)) + numpy_sum(values.subspan(half));
  }
  double sum = 0;
  std::size_t i = 0;
  if (n >= kLanes) {
    std::array<double, kLanes> r;
    std::copy_n(values.begin(), kLanes, r.begin());
    for (i = kLanes; i < n - n % kLanes; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) r[lane] += values[i + lane];
    }
    sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  }
  for (; i < n; ++i) sum += values[i];
  return sum;
}

// Weights that cannot be: not finite beside others that are numbers, not above 0, nothing beside the others.
void check_weights(std::span<const std::string> words, std::span<const double> weights, std::string_view flag) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::string& word = words[2 * i];
    if (is_beyond_numbers(word)) {
      throw ConfigError(fmt::format("{}: the weight {} of {} is not finite. Give numbers such as 0.3 and 0.7", flag,
                                    word, words[2 * i + 1]));
    }
    if (!(weights[i] > 0)) {
      throw ConfigError(
          fmt::format("{}: expected weights above 0, got {} for {}. Leave out a corpus that is not to be read", flag,
                      word, words[2 * i + 1]));
    }
  }
  if (std::isinf(numpy_sum(weights))) {
    throw ConfigError(
        fmt::format("{}: the weights add up to more than a number of 64 bits holds, got \"{}\". Give "
                    "smaller ones of the same proportion",
                    flag, fmt::join(words, " ")));
  }
}

std::array<double, kSplitCount> parse_shares(std::string_view split) {
  const auto bad = [&](std::string_view why) {
    return ConfigError(fmt::format("--split: expected up to three shares such as \"{}\" or \"99,1,0\", got \"{}\" ({})",
                                   kDefaultSplit, split, why));
  };
  constexpr std::string_view kDigits = ".0123456789";
  std::array<double, kSplitCount> shares{};
  std::size_t count = 0;
  for (std::size_t at = 0; at < split.size();) {
    const std::size_t begin = split.find_first_of(kDigits, at);
    if (begin == std::string_view::npos) break;
    const std::size_t end = std::min(split.find_first_not_of(kDigits, begin), split.size());
    if (count == shares.size()) throw bad("too many numbers");
    const auto share = parse_number(split.substr(begin, end - begin));
    if (!share) throw bad("not a number");
    shares[count++] = *share;
    at = end;
  }
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  if (!(sum > 0)) throw bad("nothing is above zero");
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace

const char* split_name(Split split) {
  constexpr const char* kNames[] = {"train", "valid", "test"};
  return kNames[static_cast<int>(split)];
}

std::array<std::optional<IndexRange>, kSplitCount> split_sequences(std::string_view split, std::int64_t sequences) {
  const auto shares = parse_shares(split);
  std::array<std::optional<IndexRange>, kSplitCount> ranges;
  double begin = 0;
  for (int i = 0; i < kSplitCount; ++i) {
    const double end = begin + shares[static_cast<std::size_t>(i)];
    if (end > begin) {
      // nearbyint rounds halves to even, as Python's round() does.
      const double count = static_cast<double>(sequences);
      ranges[static_cast<std::size_t>(i)] = IndexRange{static_cast<std::int64_t>(std::nearbyint(begin * count)),
                                                       static_cast<std::int64_t>(std::nearbyint(end * count))};
    }
    begin = end;
  }
  return ranges;
}

std::array<std::int64_t, kSplitCount> wanted_samples(const TrainingLength& length) {
  const std::int64_t train = length.train_samples.value_or(length.train_iters * length.global_batch_size);
  const std::int64_t test = length.eval_iters * length.eval_global_batch_size;
  if (length.full_validation) return {train, kWholeSplit, test};
  if (length.eval_iters == 0) return {train, 0, 0};
  if (length.eval_interval < 1) {
    throw ConfigError(fmt::format("--eval-interval: expected at least 1, got {}", length.eval_interval));
  }
  const std::int64_t train_iters =
      length.train_iters > 0 ? length.train_iters : train / std::max<std::int64_t>(1, length.global_batch_size);
  const std::int64_t left_out = length.start_eval_at_iter / length.eval_interval;
  const std::int64_t evaluations = std::max<std::int64_t>(1, train_iters / length.eval_interval + 1 - left_out);
  return {train, evaluations * test, test};
}

Blend parse_blend(std::span<const std::string> words, std::string_view flag) {
  Blend blend;
  int numbers = 0, finite = 0;
  if (words.size() % 2 == 0) {
    for (std::size_t i = 0; i < words.size(); i += 2) {
      const auto weight = parse_number(words[i]);
      numbers += weight || is_beyond_numbers(words[i]) ? 1 : 0;
      finite += weight ? 1 : 0;
      blend.weights.push_back(weight.value_or(0));
      blend.prefixes.emplace_back(trim(words[i + 1]));
    }
  }
  if (words.empty() || (finite > 0 && numbers * 2 != static_cast<int>(words.size()))) {
    throw ConfigError(
        fmt::format("{}: expected one prefix, prefixes, or weight and prefix in turn (\"0.3 A 0.7 B\"), got \"{}\"",
                    flag, fmt::join(words, " ")));
  }
  if (finite == 0) {  // "inf A": a file may be called so
    blend = {};
    for (const std::string& word : words) blend.prefixes.emplace_back(trim(word));
    return blend;
  }
  check_weights(words, blend.weights, flag);
  blend.weights = normalized(std::move(blend.weights));
  for (std::size_t i = 0; i < blend.weights.size(); ++i) {
    if (!(blend.weights[i] > 0)) {
      throw ConfigError(
          fmt::format("{}: the weight {} of {} is nothing beside the others. Leave this corpus "
                      "out, or give weights of like size",
                      flag, words[2 * i], blend.prefixes[i]));
    }
  }
  return blend;
}

bool looks_like_weight(std::string_view word) {
  word = trim(word);
  if (word.ends_with('%')) word.remove_suffix(1);
  return parse_number(word) || is_beyond_numbers(word);
}

std::vector<double> normalized(std::vector<double> weights) {
  const double sum = numpy_sum(weights);
  for (double& weight : weights) weight /= sum;
  return weights;
}

std::int64_t wanted_of_corpus(std::int64_t wanted, double weight, double surplus) {
  return static_cast<std::int64_t>(std::ceil(std::ceil(static_cast<double>(wanted) * weight) * (1 + surplus)));
}

}  // namespace ringtron
