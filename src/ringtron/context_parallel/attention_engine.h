// What all calls of one CpAttention share: the group, plans and kernels that are kept, and the counts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

#include "ringtron/context_parallel/block_attention.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/plan/tile_batches.h"

namespace ringtron::internal {

// What calls with the same mask, layout and transport share.
struct PlannedAttention {
  std::shared_ptr<const SequenceShape> shape;  // kept, so that its address names it
  bool causal;
  AttentionWindow window;
  SequenceLayout layout;
  std::vector<AttentionMask> masks;  // one, or one per sample
  TransportPlan plan;
  std::int64_t mask_area;  // cells of `masks`
  std::optional<PlanTiles> tiles = {};  // of `plan`, where a kernel may want batches of them

  bool is_for(const AttentionCall& call) const {
    return shape == call.shape && causal == call.causal && window == call.window && plan.transport == call.transport;
  }
  // Cells of the masks of all samples over all ranks.
  std::int64_t area(std::int64_t samples) const { return masks.size() == 1 ? mask_area * samples : mask_area; }
  // Tiles have a new shape in every micro-batch.
  bool varied_shapes() const { return masks.size() > 1 || masks.front().document_starts().size() > 1; }
};

// Held by the autograd graph too, which may outlive the CpAttention. Not thread-safe but for block() and key_head(); a forward
// that is run again in a backward runs on autograd's thread, while the caller of the backward waits.
class AttentionEngine {
 public:
  AttentionEngine(Communicator& group, SequenceLayout layout, const CpAttentionOptions& options)
      : group_(group), layout_(std::move(layout)), options_(options) {}

  Communicator& group() { return group_; }
  const CpAttentionOptions& options() const { return options_; }
  ExchangeProof& proof() { return proof_; }

  CpFault fault_of(int layer) const {
    return options_.fault_layer < 0 || options_.fault_layer == layer ? options_.fault : CpFault::none;
  }

  // The kernel for this device and type; kept, since it may cache what is costly to make.
  const BlockAttention& block(const at::Tensor& q, bool dropout);

  // [query heads] int64: the key/value head of each, on the device; undefined where the share is regular. Kept, since
  // copying it there would stall a GPU.
  at::Tensor key_head(const HeadShare& share, std::int64_t heads_per_group, at::Device device);

  // The plan for a call; made, and compared with that of all other ranks, when it is new: collective then. Throws
  // CommError if they differ.
  std::shared_ptr<const PlannedAttention> plan(const AttentionCall& call, const at::Tensor& q);

 private:
  void agree_on_plan(std::uint64_t hash, const AttentionCall& call, at::Device device);

  Communicator& group_;
  const SequenceLayout layout_;
  const CpAttentionOptions options_;
  ExchangeProof proof_;
  std::vector<std::shared_ptr<const PlannedAttention>> plans_;
  std::mutex mutex_;  // guards what follows: the backward of a GPU runs on autograd's thread
  std::map<std::tuple<c10::DeviceType, at::ScalarType, bool>, std::unique_ptr<BlockAttention>> blocks_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, at::Tensor> key_heads_;  // by first, last, group size
};

}  // namespace ringtron::internal
