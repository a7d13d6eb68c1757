// A bounded row of jobs: one thread puts them in, many work on them in any order, one takes them out in the
// order in which they went in. At most `capacity` jobs exist at a time, and no more than `bytes` of input in
// all of them unless one alone has more, so memory does not grow with the input.
//
// An error in any of the threads goes to fail(); it ends all waits and is rethrown by take().
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>

namespace ringtron {

template <class Job>
class OrderedWork {
 public:
  OrderedWork(std::size_t capacity, std::size_t bytes) : capacity_(capacity), most_bytes_(bytes) {}

  // Waits for room for a job of `bytes`. False after fail(): stop.
  bool put(Job job, std::size_t bytes) {
    std::unique_lock lock(mutex_);
    const auto has_room = [&] { return row_.size() < capacity_ && bytes_ + bytes <= most_bytes_; };
    changed_.wait(lock, [&] { return error_ || row_.empty() || has_room(); });
    if (error_) return false;
    bytes_ += bytes;
    row_.push_back(std::make_shared<Slot>(Slot{std::move(job), bytes}));
    waiting_.push_back(row_.back());
    changed_.notify_all();
    return true;
  }

  // No more jobs will come.
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  // The first error counts.
  void fail(std::exception_ptr error) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
    changed_.notify_all();
  }

  // Works on one job, if there is one. False when there will be no more.
  template <class Body>
  bool work(const Body& body) {
    std::shared_ptr<Slot> slot;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return error_ || closed_ || !waiting_.empty(); });
      if (error_ || waiting_.empty()) return false;
      slot = waiting_.front();
      waiting_.pop_front();
    }
    body(slot->job);
    std::lock_guard lock(mutex_);
    slot->done = true;
    changed_.notify_all();
    return true;
  }

  // The next finished job, in order; false at the end.
  bool take(Job& job) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || (row_.empty() ? closed_ : row_.front()->done); });
    if (error_) std::rethrow_exception(error_);
    if (row_.empty()) return false;
    job = std::move(row_.front()->job);
    bytes_ -= row_.front()->bytes;
    row_.pop_front();
    changed_.notify_all();
    return true;
  }

 private:
  struct Slot {
    Job job;
    std::size_t bytes = 0;
    bool done = false;
  };
  const std::size_t capacity_, most_bytes_;
  std::size_t bytes_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Slot>> row_;      // in order, finished or not
  std::deque<std::shared_ptr<Slot>> waiting_;  // those nobody has begun
  std::exception_ptr error_;
  bool closed_ = false;
};

}  // namespace ringtron
