#include "ringtron/mamba_context_parallel/scan_heads.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "ringtron/context_parallel/run/ulysses_all_to_all.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using Sharing = c10::intrusive_ptr<HeadSharing>;

void keep(AutogradContext* context, const Sharing& sharing) {
  context->saved_data["sharing"] = c10::IValue::make_capsule(sharing);
}
Sharing kept(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<HeadSharing>(context->saved_data["sharing"].toCapsule());
}

UlyssesAllToAll exchange_of(const HeadSharing& s) { return {s.group, s.layout, s.merged, s.shares}; }

std::vector<at::Tensor> sequence_of(const HeadSharing& sharing, const std::vector<HeadTensor>& tensors) {
  const std::int64_t rows = sharing.layout.local_length(sharing.group.rank());
  std::vector<at::Tensor> results;
  for (const auto& [x, kind] : tensors) {
    const std::int64_t heads = kind == HeadKind::query ? sharing.heads : sharing.groups;
    // Zeros, because several ranks may add to a group.
    results.push_back(at::zeros({rows, x.size(1), heads, x.size(3)}, x.options()));
  }
  exchange_of(sharing).to_sequence(tensors, results);
  return results;
}

class ToHeads : public Function<ToHeads> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& of_heads, const at::Tensor& of_groups,
                               const Sharing& sharing) {
    keep(context, sharing);
    return exchange_of(*sharing).to_heads(
        {{of_heads.contiguous(), HeadKind::query}, {of_groups.contiguous(), HeadKind::key_value}});
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    auto rows = sequence_of(*kept(context),
                            {{grads[0].contiguous(), HeadKind::query}, {grads[1].contiguous(), HeadKind::key_value}});
    return {std::move(rows[0]), std::move(rows[1]), {}};
  }
};

class ToSequence : public Function<ToSequence> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y, const Sharing& sharing) {
    keep(context, sharing);
    return sequence_of(*sharing, {{y.contiguous(), HeadKind::query}})[0];
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    return {exchange_of(*kept(context)).to_heads({{grads[0].contiguous(), HeadKind::query}})[0], {}};
  }
};

}  // namespace

HeadSharing::HeadSharing(Communicator& the_group, const SequenceLayout& the_layout, std::int64_t the_heads,
                         std::int64_t the_groups)
    : group(the_group),
      layout(the_layout),
      merged(the_layout.merged(the_layout.ranks())),
      heads(the_heads),
      groups(the_groups),
      shares(share_heads(the_heads, the_groups, the_layout.ranks())) {}

ScanHeads to_heads(const ScanHeads& rows, const c10::intrusive_ptr<HeadSharing>& sharing) {
  variable_list out = ToHeads::apply(rows.of_heads, rows.of_groups, sharing);
  return {std::move(out[0]), std::move(out[1])};
}

at::Tensor to_sequence(const at::Tensor& y, const c10::intrusive_ptr<HeadSharing>& sharing) {
  return ToSequence::apply(y, sharing);
}

}  // namespace ringtron
