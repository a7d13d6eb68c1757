#include "ringtron/comm/nccl/watchdog.h"

#include <exception>
#include <utility>

namespace ringtron {

class Watchdog::Entry {
 public:
  explicit Entry(C10dWork started) : work(std::move(started)) {}
  explicit Entry(std::function<bool()> tells) : ended(std::move(tells)) {}

  bool has_ended() const {
    try {
      return work ? work->isCompleted() : ended();
    } catch (const std::exception&) {
      return true;
    }
  }

  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  C10dWork work;                // null once it has been waited for
  std::function<bool()> ended;  // then this
};

Watchdog::Handle Watchdog::add(C10dWork work) { return add(std::make_shared<Entry>(std::move(work))); }

Watchdog::Handle Watchdog::add(std::function<bool()> ended) { return add(std::make_shared<Entry>(std::move(ended))); }

Watchdog::Handle Watchdog::add(Handle begun) {
  const std::lock_guard lock(mutex_);
  under_way_.push_back(begun);
  return begun;
}

Watchdog::C10dWork Watchdog::work(const Handle& operation) const {
  const std::lock_guard lock(mutex_);
  return operation->work;
}

void Watchdog::waited(const Handle& operation, std::function<bool()> ended) {
  C10dWork work;  // goes outside of the lock, and the tensors with it
  const std::lock_guard lock(mutex_);
  operation->ended = std::move(ended);
  work.swap(operation->work);
}

std::optional<std::chrono::steady_clock::time_point> Watchdog::oldest() {
  std::deque<Handle> gone;  // as above
  const std::lock_guard lock(mutex_);
  while (!under_way_.empty() && under_way_.front()->has_ended()) {
    gone.push_back(std::move(under_way_.front()));
    under_way_.pop_front();
  }
  if (under_way_.empty()) return {};
  return under_way_.front()->start;
}

void Watchdog::clear() {
  std::deque<Handle> gone;
  const std::lock_guard lock(mutex_);
  gone.swap(under_way_);
}

}  // namespace ringtron
