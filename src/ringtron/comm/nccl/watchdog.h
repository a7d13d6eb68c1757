// Internal to comm: the watchdog's list, operations of a group that have begun on a device and may not have ended.
//
// A device runs behind its host: an operation that the host has waited for has still to end there, and one whose peer
// hangs never does. c10d's work tells, but it also holds the operation's tensors; kept until a monitor looks again,
// that is activations of many layers. So a work is held only until it is waited for, and from then on something small
// tells instead. Any thread may call anything.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include <torch/csrc/distributed/c10d/Work.hpp>

namespace ringtron {

class Watchdog {
 public:
  using C10dWork = c10::intrusive_ptr<c10d::Work>;
  class Entry;
  using Handle = std::shared_ptr<Entry>;

  // An operation that begins now.
  Handle add(C10dWork work);
  // One without tensors to let go; `ended` as below.
  Handle add(std::function<bool()> ended);
  // The work of an operation that has not been waited for; null afterwards.
  C10dWork work(const Handle& operation) const;
  // It has been waited for: its work goes, and `ended` tells from now on. If `ended` throws, the operation counts as
  // ended: whatever is wrong with the device, others will say.
  void waited(const Handle& operation, std::function<bool()> ended);

  // When the oldest operation that has not ended began; nothing if all have.
  std::optional<std::chrono::steady_clock::time_point> oldest();
  void clear();

 private:
  Handle add(Handle begun);

  mutable std::mutex mutex_;
  std::deque<Handle> under_way_;  // in the order in which they began
};

}  // namespace ringtron
