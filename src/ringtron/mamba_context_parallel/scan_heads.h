// The other way to share a scan: each rank takes some heads over the whole sequence. One exchange before, one after.
//
// Sequence for heads as Ulysses does it (ulysses_all_to_all.h): any numbers of rows, heads and groups; a group that
// heads of several ranks read goes to each of them, and its gradients are summed. All ranks of the group call in the
// same order, forward and backward; the group must outlive the graph. Throw CommError.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/plan/gqa_head_shares.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

struct ScanHeads {
  at::Tensor of_heads;   // [s, b, heads, d]
  at::Tensor of_groups;  // [s, b, groups, e]
};

// How the ranks of a group divide the heads and groups of heads of a sequence of `layout`, which has as many ranks.
struct HeadSharing : torch::CustomClassHolder {
  HeadSharing(Communicator& the_group, const SequenceLayout& the_layout, std::int64_t the_heads,
              std::int64_t the_groups);

  Communicator& group;
  SequenceLayout layout, merged;
  std::int64_t heads, groups;
  std::vector<HeadShare> shares;

  const HeadShare& own() const { return shares[static_cast<std::size_t>(group.rank())]; }
};

// This rank's rows of all heads and groups to all rows, in the order of the sequence, of those of its share. With
// autograd.
ScanHeads to_heads(const ScanHeads& rows, const c10::intrusive_ptr<HeadSharing>& sharing);

// y: [s, b, heads of the share, d] to [s_local, b, all heads, d]. With autograd.
at::Tensor to_sequence(const at::Tensor& y, const c10::intrusive_ptr<HeadSharing>& sharing);

}  // namespace ringtron
