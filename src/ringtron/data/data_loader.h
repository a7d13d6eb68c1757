// Reads micro-batches ahead of training on a thread of its own.
//
//   DataLoader loader(dataset, sampler, options, consumed_samples);
//   while (...) { MicroBatch batch = loader.next(); ... }
//
// Each rank has its own loader (micro_batch.h says what it reads). The dataset must outlive it. next() is for one
// thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "ringtron/data/micro_batch.h"

namespace ringtron {

class DataLoader {
 public:
  // Starts the thread at the first sample that is not among `consumed_samples`.
  DataLoader(const Dataset& dataset, Sampler sampler, MicroBatchOptions options, std::int64_t consumed_samples);
  ~DataLoader();  // stops the thread; what was read ahead is dropped
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  // The next micro-batch of this data-parallel rank. Waits for it; rethrows what went wrong while reading it,
  // also when called again.
  MicroBatch next();

  // Waits until `count` micro-batches are read, so that the next `count` calls of next() neither wait nor throw;
  // rethrows what went wrong while reading one of them.
  void prepare(std::int64_t count);

  // Seconds that next() and prepare() have waited since the loader was made.
  double wait_seconds() const { return wait_seconds_; }

 private:
  void run(std::int64_t consumed_samples);

  const Dataset& dataset_;
  const Sampler sampler_;
  const MicroBatchOptions options_;
  double wait_seconds_ = 0;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<MicroBatch> ready_;
  std::size_t held_ = 0;  // how many are read ahead: `prefetch`, or more where prepare() asked for them
  std::exception_ptr error_;
  bool stop_ = false;

  std::thread thread_;  // last: it uses the members above
};

}  // namespace ringtron
