#include "ringtron/config/batch/batch_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

using Part = BatchSchedule::Part;
using Result = std::variant<BatchSchedule, std::string>;

constexpr std::int64_t kMostIncrements = 10'000;
constexpr double kMostTokens = 1e18;

// From START by INCREMENT to `last`, each size for the same share of SAMPLES.
Result ramp(std::span<const int> flag, std::int64_t last) {
  constexpr std::string_view kFlag = "--rampup-batch-size";
  if (flag.size() != 3) return fmt::format("{}: expected START INCREMENT SAMPLES, got {} numbers", kFlag, flag.size());
  const std::int64_t start = flag[0], increment = flag[1], samples = flag[2];
  if (start < 1 || increment < 1)
    return fmt::format("{}: expected START and INCREMENT of at least 1, got {} and {}", kFlag, start, increment);
  if (start > last)
    return fmt::format("{}: expected a START of at most --global-batch-size {}, got {}", kFlag, last, start);
  if ((last - start) % increment != 0) {
    return fmt::format("{}: expected an INCREMENT that divides the {} from START {} to --global-batch-size {}, got {}",
                       kFlag, last - start, start, last, increment);
  }
  const std::int64_t increments = (last - start) / increment;
  if (increments > kMostIncrements)
    return fmt::format("{}: expected at most {} increments, got {}", kFlag, kMostIncrements, increments);
  std::vector<Part> parts;
  for (std::int64_t i = 0; i <= increments; ++i) {
    // ceil(i * samples / increments), in parts: the product need not be a number.
    const std::int64_t whole = increments > 0 ? samples / increments : 0,
                       rest = increments > 0 ? samples % increments : 0;
    const std::int64_t first = i * whole + (i * rest + increments - 1) / std::max<std::int64_t>(1, increments);
    if (!parts.empty() && parts.back().first_sample == first) parts.pop_back();  // fewer samples than increments
    parts.push_back({i == 0 ? 0 : first, start + i * increment});
  }
  return BatchSchedule(std::move(parts));
}

// "1536", "250B": a whole number once it is multiplied.
std::optional<std::int64_t> number_with_suffix(std::string_view word) {
  double factor = 1.0;
  constexpr std::pair<char, double> kSuffixes[] = {{'K', 1e3}, {'M', 1e6}, {'B', 1e9}, {'T', 1e12}};
  for (const auto& [suffix, value] : kSuffixes) {
    if (word.empty() || (word.back() != suffix && word.back() != suffix - 'A' + 'a')) continue;
    factor = value;
    word.remove_suffix(1);
    break;
  }
  double number = 0.0;
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != word.data() + word.size()) return std::nullopt;
  if (!(number >= 0.0) || number * factor > kMostTokens) return std::nullopt;
  return static_cast<std::int64_t>(number * factor);
}

// "TOKENS:BATCH TOKENS:BATCH ...".
Result steps(const std::string& flag, std::int64_t seq_length) {
  constexpr std::string_view kFlag = "--step-batch-size-schedule";
  if (seq_length < 1) return fmt::format("{}: expected --seq-length, by which it counts tokens, got none", kFlag);
  std::vector<Part> parts;
  std::string words = flag;
  std::ranges::replace(words, ',', ' ');
  for (const std::string& word : split(words, ' ')) {
    if (word.empty()) continue;
    const std::size_t colon = word.find(':');
    const auto tokens = number_with_suffix(std::string_view(word).substr(0, colon));
    const auto batch =
        colon == std::string::npos ? std::nullopt : number_with_suffix(std::string_view(word).substr(colon + 1));
    if (!tokens || !batch || *batch < 1 || *batch > std::numeric_limits<int>::max())
      return fmt::format("{}: expected TOKENS:BATCH such as 250B:1536, got {}", kFlag, excerpt(word));
    parts.push_back({*tokens / seq_length, *batch});
  }
  std::ranges::stable_sort(parts, {}, &Part::first_sample);
  if (parts.empty() || parts.front().first_sample != 0)
    return fmt::format("{}: expected a first step at 0 tokens, got {}", kFlag, excerpt(flag));
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].first_sample == parts[i - 1].first_sample) {
      return fmt::format("{}: expected steps at least a sequence of {} tokens apart, got two at sample {}", kFlag,
                         seq_length, parts[i].first_sample);
    }
  }
  return BatchSchedule(std::move(parts));
}

}  // namespace

BatchSchedule::BatchSchedule(std::vector<Part> parts) : parts_(std::move(parts)) {
  RT_CHECK(!parts_.empty() && parts_.front().first_sample == 0, "a batch schedule begins at sample 0");
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    RT_CHECK(parts_[i].batch > 0, "expected batches of at least 1, got {}", parts_[i].batch);
    RT_CHECK(i == 0 || parts_[i].first_sample > parts_[i - 1].first_sample, "parts of a batch schedule out of order");
  }
}

std::int64_t BatchSchedule::batch_at(std::int64_t consumed) const {
  const auto next = std::ranges::upper_bound(parts_, consumed, {}, &Part::first_sample);
  return next == parts_.begin() ? parts_.front().batch : std::prev(next)->batch;
}

std::int64_t BatchSchedule::smallest() const { return std::ranges::min(parts_, {}, &Part::batch).batch; }

std::int64_t BatchSchedule::largest() const { return std::ranges::max(parts_, {}, &Part::batch).batch; }

std::int64_t BatchSchedule::samples_after(std::int64_t consumed, std::int64_t steps) const {
  for (std::size_t i = 0; i + 1 < parts_.size() && steps > 0; ++i) {
    const std::int64_t left = parts_[i + 1].first_sample - consumed;
    if (left <= 0) continue;
    const std::int64_t taken = std::min(steps, (left - 1) / parts_[i].batch + 1);
    consumed += taken * parts_[i].batch;
    steps -= taken;
  }
  return consumed + steps * parts_.back().batch;
}

std::int64_t BatchSchedule::steps_of(std::int64_t samples) const {
  std::int64_t consumed = 0, steps = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const bool is_last = i + 1 == parts_.size();
    const std::int64_t left = is_last ? samples - consumed : parts_[i + 1].first_sample - consumed;
    if (left <= 0) continue;
    const std::int64_t batch = parts_[i].batch, fit = std::max<std::int64_t>(0, samples - consumed) / batch;
    const std::int64_t taken = is_last ? fit : std::min(fit, (left - 1) / batch + 1);
    consumed += taken * batch;
    steps += taken;
    if (taken == fit && !is_last && consumed < parts_[i + 1].first_sample) break;
  }
  return steps;
}

Result try_batch_schedule(const BatchConfig& batch, int seq_length) {
  if (!batch.step_batch_size_schedule.empty()) return steps(batch.step_batch_size_schedule, seq_length);
  if (batch.global_batch_size < 1) return fmt::format("expected --global-batch-size, got {}", batch.global_batch_size);
  if (!batch.rampup_batch_size.empty()) return ramp(batch.rampup_batch_size, batch.global_batch_size);
  return BatchSchedule({{0, batch.global_batch_size}});
}

BatchSchedule batch_schedule(const Config& config) {
  Result result = try_batch_schedule(config.batch, config.model.seq_length);
  if (const auto* fault = std::get_if<std::string>(&result)) throw ConfigError(*fault);
  return std::get<BatchSchedule>(std::move(result));
}

}  // namespace ringtron
