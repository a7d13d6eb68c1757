// Measures what transport_choice.h predicts from: the link of a group and the speed of attention on its device.
//
//   const DeviceSpeeds speeds = measure_speeds(group, shape, {.sequence_length = 8192}, type, device);
//
// All ranks of the group call it at the same time; all get what rank 0 measured, so that they choose alike. Well under
// a second on a CPU; on a GPU as long as cuDNN takes to build one plan. The caller has made `device` current.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/schedule/transport_choice.h"

namespace ringtron {

DeviceSpeeds default_speeds(at::Device device);

// What of a run decides which kernel its attention gets, see make_block_attention and BlockCall.
struct AttentionUse {
  std::int64_t sequence_length = 0;
  AttentionWindow window = {};
  bool documents = false;  // samples are made of them: shapes that seldom come again
  bool dropout = false;
};

// Of the block of rows x rows that is measured: slanted on both sides where the run's window is shorter than its
// sequence, at most half a block wide, else causal.
Band measured_band(const AttentionUse& use, std::int64_t rows);

// All ranks send to the next one at once, a small and a large message; a group of one gets the default.
LinkSpeed measure_link(Communicator& group, at::Device device);

// One block forward by the kernel that a run of this use gets, and a copy. `shape`: heads and sizes of the model; its
// samples do not count. The backward's rate and the cost of a call are in the proportion of the default speeds.
AttentionSpeed measure_attention(const AttentionShape& shape, const AttentionUse& use, at::ScalarType type,
                                 at::Device device);

// Both, of rank 0, on all ranks.
DeviceSpeeds measure_speeds(Communicator& group, const AttentionShape& shape, const AttentionUse& use,
                            at::ScalarType type, at::Device device);

}  // namespace ringtron
