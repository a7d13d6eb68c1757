// What all calls of one CpAttention share: the group, kernels and schedules that are kept, and the counts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "ringtron/comm/decorators/counting_communicator.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/schedule/lower.h"

namespace ringtron {

// What calls with the same mask, layout, transport and heads share.
struct PreparedSchedules {
  std::shared_ptr<const SequenceShape> shape;  // kept, so that its address names it
  bool causal;
  AttentionWindow window;
  CpTransport transport;
  LoweringFacts facts;
  SequenceLayout layout;
  std::vector<AttentionMask> masks;  // one, or one per sample
  RankSchedules schedules;
  std::int64_t mask_area;  // cells of `masks`

  bool is_for(const AttentionCall& call, const LoweringFacts& of_call) const {
    return shape == call.shape && causal == call.causal && window == call.window && transport == call.transport &&
           facts == of_call;
  }
  // Cells of the masks of all samples over all ranks.
  std::int64_t area(std::int64_t samples) const { return masks.size() == 1 ? mask_area * samples : mask_area; }
  // Tiles have a new shape in every micro-batch.
  bool varied_shapes() const { return masks.size() > 1 || masks.front().document_starts().size() > 1; }
};

// Held by the autograd graph too, which may outlive the CpAttention. Not thread-safe but for block() and key_head(); a
// forward that is run again in a backward runs on autograd's thread, while the caller of the backward waits.
class ScheduleCache {
 public:
  ScheduleCache(Communicator& group, SequenceLayout layout, const CpAttentionOptions& options);

  int rank() const { return group_.rank(); }
  const CpAttentionOptions& options() const { return options_; }
  ExchangeProof& proof() { return *proof_; }
  // Through which schedules send; counted by sent().
  Communicator& messages() { return decorated_ ? *decorated_ : counted_; }
  std::int64_t sent() const { return counted_.counts().exchange.bytes; }

  // The kernel for this device and type; kept, since it may cache what is costly to make.
  const BlockAttention& block(const at::Tensor& q, bool dropout);

  // [query heads] int64: the key/value head of each, on the device; undefined where the share is regular. Kept, since
  // copying it there would stall a GPU.
  at::Tensor key_head(const HeadShare& share, std::int64_t heads_per_group, at::Device device);

  // The schedules for a call; made, and the plan compared with that of all other ranks, when it is new: collective
  // then. Throws CommError if they differ.
  std::shared_ptr<const PreparedSchedules> prepare(const AttentionCall& call, const at::Tensor& q, const at::Tensor& k,
                                                   const at::Tensor& v);

 private:
  LoweringFacts facts_of(const AttentionCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
  void agree_on_plan(std::uint64_t hash, const AttentionCall& call, at::Device device);

  Communicator& group_;
  CountingCommunicator counted_;
  std::unique_ptr<Communicator> decorated_;
  const SequenceLayout layout_;
  const CpAttentionOptions options_;
  std::shared_ptr<ExchangeProof> proof_;
  std::vector<std::shared_ptr<const PreparedSchedules>> calls_;
  std::mutex mutex_;  // guards what follows: the backward of a GPU runs on autograd's thread
  std::map<std::tuple<c10::DeviceType, at::ScalarType, bool>, std::unique_ptr<BlockAttention>> blocks_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, at::Tensor> key_heads_;  // by first, last, group size
};

}  // namespace ringtron
