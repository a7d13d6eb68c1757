// What the calls of the attention operators over one process group share.
#pragma once

#include <c10/core/DeviceType.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/run/schedule_cache.h"
#include "ringtron/ops/attention_options.h"

namespace ringtron::ops {

// One for each group and kind of device, made at the first call and kept until the process ends; it does not keep the
// process group. All members of the group make the same calls in the same order.
class AttentionGroup {
 public:
  explicit AttentionGroup(std::unique_ptr<Communicator> communicator) : communicator_(std::move(communicator)) {}

  // Held during a call: autograd may run a backward on a thread of its own.
  std::mutex& mutex() { return mutex_; }
  std::shared_ptr<ScheduleCache> schedules(const AttentionOptions& options);
  // The same object for the same layout and documents, by which schedules are found again.
  // saved_rows(), which makes a plan, once for each set of options.
  const SavedRows& saved(const AttentionOptions& options, std::int64_t heads);
  std::shared_ptr<const SequenceShape> shape(const AttentionOptions& options, std::vector<std::int64_t> starts);

 private:
  std::unique_ptr<Communicator> communicator_;
  std::mutex mutex_;
  std::map<std::pair<bool, std::int64_t>, std::shared_ptr<ScheduleCache>> schedules_;
  std::map<std::pair<std::string, std::vector<std::int64_t>>, SavedRows> saved_;  // by words and numbers
  std::deque<std::shared_ptr<const SequenceShape>> shapes_;                       // the newest last
};

// Throws ValueError when the group is unknown or has no back end for the device.
AttentionGroup& attention_group(const std::string& group_name, c10::DeviceType device);

}  // namespace ringtron::ops
