// Internal to comm: what every back end knows about its group, and how it reports a failure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/failure_detection/liveness.h"

namespace ringtron {

struct Group {
  std::string name;
  std::vector<int> members;  // global ranks, in group order
  int rank = 0;              // this process's place in `members`
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  const Liveness* liveness = nullptr;

  int size() const { return static_cast<int>(members.size()); }
};

// One operation, for messages: which, and the how-manieth of its group.
struct CommOperation {
  const char* name;
  std::int64_t sequence;
  int peer = -1;  // the group rank waited for, where the operation waits for one alone
};

// Throws the CommError for `reason` (a back end's own text, of which the first line is kept). Asks the
// liveness service who died and waits a moment for its answer, unless the operation ran into its timeout.
[[noreturn]] void throw_comm_error(const Group& group, const CommOperation& operation, const std::string& reason);

// Contract checks that all back ends share; a violation is our own bug.
void check_all_gather(const Group& group, const at::Tensor& shard, const at::Tensor& whole);
void check_reduce_scatter(const Group& group, const at::Tensor& whole, const at::Tensor& shard);
void check_all_to_all(const Group& group, const at::Tensor& in, const at::Tensor& out);
void check_exchange(const Group& group, std::span<const Send> sends, std::span<const Receive> receives);

}  // namespace ringtron
