#include "ringtron/data/data_loader.h"

#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"

namespace ringtron {

DataLoader::DataLoader(const Dataset& dataset, Sampler sampler, MicroBatchOptions options,
                       std::int64_t consumed_samples)
    : dataset_(dataset), sampler_(sampler), options_(std::move(options)) {
  RT_CHECK_GE(options_.prefetch, 1, "prefetched micro-batches");
  held_ = static_cast<std::size_t>(options_.prefetch);
  thread_ = std::thread([this, consumed_samples] { run(consumed_samples); });
}

DataLoader::~DataLoader() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void DataLoader::run(std::int64_t consumed_samples) {
  try {
    for (std::int64_t micro_batch = 0;; ++micro_batch) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stop_ || ready_.size() < held_; });
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

void DataLoader::prepare(std::int64_t count) {
  const auto start = SteadyClock::now();
  const auto wanted = static_cast<std::size_t>(count);
  std::unique_lock lock(mutex_);
  if (wanted > held_) {
    held_ = wanted;
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return ready_.size() >= wanted || error_; });
  wait_seconds_ += seconds_since(start);
  if (ready_.size() < wanted) std::rethrow_exception(error_);
}

MicroBatch DataLoader::next() {
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
