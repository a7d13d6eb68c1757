#include "ringtron/ops/attention_group.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>

#include <algorithm>

#include "ringtron/base/error.h"
#include "ringtron/comm/process_group/process_group_communicator.h"

namespace ringtron::ops {
namespace {

// Layers share one; those of past batches make room.
constexpr std::size_t kShapesKept = 32;

struct Known {
  // A name may be used again for another group.
  c10::weak_intrusive_ptr<c10d::ProcessGroup> alive;
  std::unique_ptr<AttentionGroup> group;
};

std::unique_ptr<AttentionGroup> make_group(const std::string& name,
                                           const c10::intrusive_ptr<c10d::ProcessGroup>& process_group,
                                           c10::DeviceType device) {
  try {
    return std::make_unique<AttentionGroup>(make_process_group_communicator(name, process_group, device));
  } catch (const ConfigError& error) {
    TORCH_CHECK_VALUE(false, "ringtron: ", error.what());
  }
}

}  // namespace

std::shared_ptr<ScheduleCache> AttentionGroup::schedules(const AttentionOptions& options) {
  auto& schedules = schedules_[{options.deterministic, options.head_ranks}];
  if (!schedules) {
    CpAttentionOptions of_group;
    of_group.deterministic = options.deterministic;
    of_group.hierarchical_a = static_cast<int>(options.head_ranks);
    schedules = std::make_shared<ScheduleCache>(*communicator_, contiguous_layout(0, communicator_->size()), of_group);
  }
  return schedules;
}

const SavedRows& AttentionGroup::saved(const AttentionOptions& options, std::int64_t heads) {
  std::pair key{options.cp_comm_type + " " + options.layout, options.numbers()};
  key.second.push_back(heads);
  const auto known = saved_.find(key);
  if (known != saved_.end()) return known->second;
  return saved_.emplace(std::move(key), saved_rows(options, heads)).first->second;
}

std::shared_ptr<const SequenceShape> AttentionGroup::shape(const AttentionOptions& options,
                                                           std::vector<std::int64_t> starts) {
  SequenceShape wanted{layout_of(options.layout, options.seq_length, communicator_->size())};
  if (!starts.empty()) wanted.document_starts = {std::move(starts)};
  const auto known = std::find_if(shapes_.begin(), shapes_.end(), [&](const auto& shape) {
    return shape->document_starts == wanted.document_starts && shape->layout == wanted.layout;
  });
  if (known != shapes_.end()) return *known;
  if (shapes_.size() >= kShapesKept) shapes_.pop_front();
  shapes_.push_back(std::make_shared<const SequenceShape>(std::move(wanted)));
  return shapes_.back();
}

AttentionGroup& attention_group(const std::string& group_name, c10::DeviceType device) {
  // Never destroyed: at exit the back ends may be gone already.
  static auto& mutex = *new std::mutex;
  static auto& groups = *new std::map<std::pair<std::string, c10::DeviceType>, Known>;
  const c10::intrusive_ptr<c10d::ProcessGroup> process_group = c10d::resolve_process_group(group_name);
  const std::lock_guard lock(mutex);
  const auto place = groups.find({group_name, device});
  if (place != groups.end() && place->second.alive.lock() == process_group) return *place->second.group;
  auto made = make_group(group_name, process_group, device);
  Known known{c10::weak_intrusive_ptr<c10d::ProcessGroup>(process_group), std::move(made)};
  return *groups.insert_or_assign({group_name, device}, std::move(known)).first->second.group;
}

}  // namespace ringtron::ops
