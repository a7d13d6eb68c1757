#include "ringtron/comm/failure_detection/liveness.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/text.h"

namespace ringtron {

std::vector<Liveness::Loss> Liveness::losses(std::chrono::milliseconds grace) const {
  std::unique_lock lock(mutex_);
  lost_.wait_for(lock, grace, [this] { return !losses_.empty(); });
  return losses_;
}

int Liveness::on_loss(std::function<void()> callback) {
  std::unique_lock lock(mutex_);
  const int number = next_callback_++;
  if (called_back_) {
    lock.unlock();
    callback();
  } else {
    callbacks_.emplace(number, std::move(callback));
  }
  return number;
}

void Liveness::forget(int callback) {
  // Callbacks run under the lock, so that after forget() none is running or will run.
  const std::lock_guard lock(mutex_);
  callbacks_.erase(callback);
}

std::string Liveness::who(int rank) const {
  const std::lock_guard lock(mutex_);
  const auto index = static_cast<std::size_t>(rank);
  return index < places_.size() ? fmt::format("rank {} ({})", rank, places_[index]) : fmt::format("rank {}", rank);
}

void Liveness::report(Loss loss) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(losses_, loss.rank, &Loss::rank) != losses_.end()) return;
  const auto index = static_cast<std::size_t>(loss.rank);
  if (loss.place.empty() && index < places_.size()) loss.place = places_[index];
  losses_.push_back(std::move(loss));
  lost_.notify_all();
  if (called_back_) return;
  called_back_ = true;
  for (const auto& [number, callback] : callbacks_) callback();
}

void Liveness::set_places(std::vector<std::string> places) {
  const std::lock_guard lock(mutex_);
  places_ = std::move(places);
}

std::string describe(const std::vector<Liveness::Loss>& losses) {
  std::vector<std::string> parts;
  for (const Liveness::Loss& loss : losses) {
    parts.push_back(fmt::format("rank {} {}{}", loss.rank, loss.failed ? "stopped with an error" : "died",
                                loss.place.empty() ? "" : fmt::format(" ({})", loss.place)));
  }
  return join(parts, "; ");
}

}  // namespace ringtron
