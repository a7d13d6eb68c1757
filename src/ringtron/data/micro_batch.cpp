#include "ringtron/data/micro_batch.h"

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {

std::vector<std::int64_t> document_starts_in(std::span<const std::int32_t> tokens, std::int64_t end_of_document) {
  std::vector<std::int64_t> starts;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    if (tokens[i] == end_of_document) starts.push_back(static_cast<std::int64_t>(i) + 1);
  }
  return starts;
}

namespace {

class MicroBatchReader {
 public:
  MicroBatchReader(const Dataset& dataset, const MicroBatchOptions& options, std::vector<std::int64_t> samples)
      : dataset_(dataset), options_(options), samples_(std::move(samples)) {}

  MicroBatch read() {
    if (options_.reset_position_ids || options_.find_documents) find_documents();
    plan();
    for (std::size_t i = 0; i < samples_.size(); ++i) {
      for (const ReadRange& range : ranges_) add_range(i, range);
    }
    batch_.batch = static_cast<std::int64_t>(samples_.size());
    if (options_.find_documents) batch_.document_starts = std::move(starts_);
    return std::move(batch_);
  }

 private:
  // A document may begin on any rank, so each looks at whole samples.
  void find_documents() {
    buffer_.resize(static_cast<std::size_t>(dataset_.sequence_length()));
    for (const std::int64_t sample : samples_) {
      dataset_.read(sample, 0, dataset_.sequence_length(), buffer_.data());
      starts_.push_back(document_starts_in(buffer_, options_.end_of_document));
    }
  }

  void plan() {
    const std::int64_t whole = dataset_.sequence_length();
    if (options_.plan) {
      ReadPlan plan = options_.plan(options_.find_documents ? starts_ : DocumentStarts());
      ranges_ = std::move(plan.ranges);
      batch_.made_from = std::move(plan.made_from);
    } else {
      ranges_ = options_.ranges.value_or(std::vector<ReadRange>{{0, whole}});
    }
    for (const ReadRange& range : ranges_) {
      RT_CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= whole,
               "positions [{}, {}) of a sample of {}", range.begin, range.end, whole);
      for (std::int64_t p = range.begin; p < range.end; ++p) batch_.global_positions.push_back(p);
    }
    batch_.length = static_cast<std::int64_t>(batch_.global_positions.size());
  }

  void add_range(std::size_t index, const ReadRange& range) {
    if (range.begin == range.end) return;
    const std::int64_t count = range.end - range.begin + 1;  // one more, for the last label
    buffer_.resize(static_cast<std::size_t>(count));
    dataset_.read(samples_[index], range.begin, count, buffer_.data());
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int32_t token = buffer_[static_cast<std::size_t>(i)];
      if (token < 0 || token >= options_.vocab_size) {
        fail_token_outside(dataset_.locate(samples_[index], range.begin + i), options_.vocab_size);
      }
    }
    for (std::int64_t i = 0; i + 1 < count; ++i) {
      const std::int32_t token = buffer_[static_cast<std::size_t>(i)];
      const bool masked = options_.mask_end_of_document && token == options_.end_of_document;
      batch_.tokens.push_back(token);
      batch_.labels.push_back(buffer_[static_cast<std::size_t>(i + 1)]);
      batch_.loss_mask.push_back(masked ? 0.0f : 1.0f);
    }
    add_position_ids(index, range);
  }

  void add_position_ids(std::size_t index, const ReadRange& range) {
    static const std::vector<std::int64_t> kNone;
    const auto& starts = options_.reset_position_ids ? starts_[index] : kNone;
    auto next = std::upper_bound(starts.begin(), starts.end(), range.begin);
    std::int64_t start = next == starts.begin() ? 0 : *(next - 1);
    for (std::int64_t position = range.begin; position < range.end; ++position) {
      if (next != starts.end() && position == *next) start = *next++;
      batch_.position_ids.push_back(position - start);
    }
  }

  const Dataset& dataset_;
  const MicroBatchOptions& options_;
  const std::vector<std::int64_t> samples_;
  DocumentStarts starts_;
  std::vector<ReadRange> ranges_;
  std::vector<std::int32_t> buffer_;
  MicroBatch batch_;
};

}  // namespace

MicroBatch read_micro_batch(const Dataset& dataset, const Sampler& sampler, const MicroBatchOptions& options,
                            const std::vector<std::int64_t>& sample_numbers) {
  std::vector<std::int64_t> samples;
  for (const std::int64_t number : sample_numbers) samples.push_back(sampler.dataset_sample(number));
  MicroBatch batch = MicroBatchReader(dataset, options, std::move(samples)).read();
  batch.sample_numbers = sample_numbers;
  for (std::size_t i = 0; i < sample_numbers.size(); ++i) {
    if (sampler.counts(sample_numbers[i])) continue;
    std::fill_n(batch.loss_mask.begin() + static_cast<std::int64_t>(i) * batch.length, batch.length, 0.0f);
  }
  return batch;
}

}  // namespace ringtron
