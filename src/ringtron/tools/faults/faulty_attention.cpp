#include "ringtron/tools/faults/faulty_attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "ringtron/context_parallel/run/saved_kv.h"
#include "ringtron/context_parallel/schedule/schedule.h"
#include "ringtron/tools/faults/silent_communicator.h"

namespace ringtron {
namespace {

// Rows whose first and last have changed places; differentiable.
at::Tensor with_ends_swapped(const at::Tensor& rows) {
  const std::int64_t count = rows.size(0);
  if (count < 2) return rows;
  return at::cat({rows.narrow(0, count - 1, 1), rows.narrow(0, 1, count - 2), rows.narrow(0, 0, 1)});
}

void drop_last_merge(Schedule& schedule) {
  auto& operations = schedule.operations;
  const auto last = std::find_if(operations.rbegin(), operations.rend(), [](const Operation& operation) {
    return std::holds_alternative<Merge>(operation.what);
  });
  if (last != operations.rend()) operations.erase(std::next(last).base());
}

void repeat_first_launch(Schedule& schedule) {
  auto& operations = schedule.operations;
  const auto is_merge = [](const Operation& operation) { return std::holds_alternative<Merge>(operation.what); };
  const auto launch = std::ranges::find_if(
      operations, [](const Operation& operation) { return std::holds_alternative<Launch>(operation.what); });
  const auto merge = std::ranges::find_if(operations, is_merge);
  if (merge == operations.end()) return;
  for (auto later = std::next(merge); later != operations.end(); ++later) {
    if (is_merge(*later)) ++std::get<Merge>(later->what).launch;
  }
  const Operation again = *launch;
  Operation merged_again = *merge;
  ++std::get<Merge>(merged_again.what).launch;
  operations.insert(std::next(merge), {again, merged_again});
}

CpAttentionOptions with_fault(CpAttentionOptions options, CpFault fault) {
  if (fault == CpFault::drop_merge) options.edit = [](RankSchedules& schedules) { drop_last_merge(schedules.forward); };
  if (fault == CpFault::double_count) {
    // Not in the backward: there the doubled sum of probabilities halves each of two equal parts.
    options.edit = [](RankSchedules& schedules) { repeat_first_launch(schedules.forward); };
  }
  if (fault == CpFault::skip_exchange)
    options.decorate = [](Communicator& group) { return std::make_unique<SilentCommunicator>(group); };
  return options;
}

class FaultyAttention final : public CpAttention {
 public:
  FaultyAttention(Communicator& group, const SequenceLayout& layout, CpAttentionOptions options, CpFault fault,
                  int layer)
      : fault_(fault), layer_(layer) {
    if (!options.proof) options.proof = std::make_shared<ExchangeProof>();
    right_ = make_cp_attention(group, layout, options);
    wrong_ = make_cp_attention(group, layout, with_fault(options, fault));
  }

  at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionCall& call) override {
    if (layer_ >= 0 && call.layer != layer_) return right_->forward(q, k, v, call);
    if (fault_ == CpFault::wrong_kept && call.saved_kv && call.saved_kv->filled) {
      for (auto& [number, block] : call.saved_kv->buffers) block.k = with_ends_swapped(block.k);
    }
    return wrong_->forward(q, fault_ == CpFault::swap_chunks ? with_ends_swapped(k) : k, v, call);
  }

  ExchangeProof& proof() override { return right_->proof(); }

 private:
  CpFault fault_;
  int layer_;
  std::unique_ptr<CpAttention> right_, wrong_;
};

}  // namespace

std::unique_ptr<CpAttention> make_faulty_attention(Communicator& group, SequenceLayout layout,
                                                   const CpAttentionOptions& options, CpFault fault, int layer) {
  return std::make_unique<FaultyAttention>(group, layout, options, fault, layer);
}

}  // namespace ringtron
