#include "ringtron/data/loader.h"

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"

namespace ringtron {
namespace {

// Start of the document that holds each position: 0 before the first end of a document, else the position
// after it.
std::vector<std::int64_t> document_starts(const std::vector<std::int32_t>& tokens,
                                          std::int64_t end_of_document) {
  std::vector<std::int64_t> starts(tokens.size());
  std::int64_t start = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    starts[i] = start;
    if (tokens[i] == end_of_document) start = static_cast<std::int64_t>(i) + 1;
  }
  return starts;
}

class MicroBatchReader {
 public:
  MicroBatchReader(const Dataset& dataset, const LoaderOptions& options)
      : dataset_(dataset), options_(options) {
    ranges_ = options.ranges;
    if (ranges_.empty()) ranges_ = {{0, dataset.sequence_length()}};
    for (const ReadRange& range : ranges_) {
      RT_CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= dataset.sequence_length(),
               "positions [{}, {}) of a sample of {}", range.begin, range.end, dataset.sequence_length());
      last_ = std::max(last_, range.end);
      for (std::int64_t p = range.begin; p < range.end; ++p) batch_.global_positions.push_back(p);
    }
    batch_.length = static_cast<std::int64_t>(batch_.global_positions.size());
  }

  void add(std::int64_t sample) {
    std::vector<std::int64_t> starts;
    if (options_.reset_position_ids) {
      buffer_.resize(static_cast<std::size_t>(last_));
      dataset_.read(sample, 0, last_, buffer_.data());
      starts = document_starts(buffer_, options_.end_of_document);
    }
    for (const ReadRange& range : ranges_) add_range(sample, range, starts);
    ++batch_.batch;
  }

  MicroBatch take() { return std::move(batch_); }

 private:
  void add_range(std::int64_t sample, const ReadRange& range, const std::vector<std::int64_t>& starts) {
    if (range.begin == range.end) return;
    const std::int64_t count = range.end - range.begin + 1;  // one more, for the last label
    buffer_.resize(static_cast<std::size_t>(count));
    dataset_.read(sample, range.begin, count, buffer_.data());
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int32_t token = buffer_[static_cast<std::size_t>(i)];
      if (token < 0 || token >= options_.vocab_size) {
        fail_token_outside(dataset_.locate(sample, range.begin + i), options_.vocab_size);
      }
    }
    for (std::int64_t i = 0; i + 1 < count; ++i) {
      const std::int32_t token = buffer_[static_cast<std::size_t>(i)];
      const std::int64_t position = range.begin + i;
      const bool masked = options_.mask_end_of_document && token == options_.end_of_document;
      batch_.tokens.push_back(token);
      batch_.labels.push_back(buffer_[static_cast<std::size_t>(i + 1)]);
      batch_.loss_mask.push_back(masked ? 0.0f : 1.0f);
      batch_.position_ids.push_back(starts.empty() ? position
                                                   : position - starts[static_cast<std::size_t>(position)]);
    }
  }

  const Dataset& dataset_;
  const LoaderOptions& options_;
  std::vector<ReadRange> ranges_;
  std::int64_t last_ = 0;
  std::vector<std::int32_t> buffer_;
  MicroBatch batch_;
};

}  // namespace

MicroBatch read_micro_batch(const Dataset& dataset, const Sampler& sampler, const LoaderOptions& options,
                            const std::vector<std::int64_t>& sample_numbers) {
  MicroBatchReader reader(dataset, options);
  for (const std::int64_t number : sample_numbers) reader.add(sampler.dataset_sample(number));
  MicroBatch batch = reader.take();
  batch.sample_numbers = sample_numbers;
  return batch;
}

Loader::Loader(const Dataset& dataset, Sampler sampler, LoaderOptions options, std::int64_t consumed_samples)
    : dataset_(dataset), sampler_(sampler), options_(std::move(options)) {
  RT_CHECK_GE(options_.prefetch, 1, "prefetched micro-batches");
  thread_ = std::thread([this, consumed_samples] { run(consumed_samples); });
}

Loader::~Loader() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Loader::run(std::int64_t consumed_samples) {
  try {
    for (std::int64_t micro_batch = 0;; ++micro_batch) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock,
                      [&] { return stop_ || ready_.size() < static_cast<std::size_t>(options_.prefetch); });
        if (stop_) return;
      }
      const auto numbers = sampler_.global_numbers(consumed_samples, micro_batch);
      MicroBatch batch = read_micro_batch(dataset_, sampler_, options_, numbers);
      std::lock_guard lock(mutex_);
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

MicroBatch Loader::next() {
  const auto start = SteadyClock::now();
  std::unique_lock lock(mutex_);
  // What was read before the error is still good.
  changed_.wait(lock, [&] { return !ready_.empty() || error_; });
  wait_seconds_ += seconds_since(start);
  if (ready_.empty()) std::rethrow_exception(error_);
  MicroBatch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace ringtron
