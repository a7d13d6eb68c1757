#include "ringtron/mamba_context_parallel/scan_heads.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "ringtron/context_parallel/run/ulysses_all_to_all.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  std::shared_ptr<const HeadSharing> sharing;
  std::int64_t heads = 0, groups = 0;

  SequenceLayout merged() const { return sharing->layout.merged(sharing->layout.ranks()); }
  std::int64_t own_rows() const { return sharing->layout.local_length(sharing->group->rank()); }
};

c10::intrusive_ptr<Held> held_of(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule());
}

std::vector<at::Tensor> heads_of(const Held& held, const std::vector<HeadTensor>& tensors) {
  const SequenceLayout merged = held.merged();
  return UlyssesAllToAll(*held.sharing->group, held.sharing->layout, merged, held.sharing->shares).to_heads(tensors);
}

// Zeros, because several ranks may add to a group.
at::Tensor rows_for(const Held& held, const at::Tensor& x, std::int64_t heads) {
  return at::zeros({held.own_rows(), x.size(1), heads, x.size(3)}, x.options());
}

std::vector<at::Tensor> sequence_of(const Held& held, const std::vector<HeadTensor>& tensors) {
  const SequenceLayout merged = held.merged();
  std::vector<at::Tensor> results;
  for (const HeadTensor& tensor : tensors) {
    results.push_back(rows_for(held, tensor.x, tensor.kind == HeadKind::query ? held.heads : held.groups));
  }
  UlyssesAllToAll(*held.sharing->group, held.sharing->layout, merged, held.sharing->shares)
      .to_sequence(tensors, results);
  return results;
}

class ToHeads : public Function<ToHeads> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& of_heads, const at::Tensor& of_groups,
                               const c10::intrusive_ptr<Held>& held) {
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    return heads_of(*held, {{of_heads.contiguous(), HeadKind::query}, {of_groups.contiguous(), HeadKind::key_value}});
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    auto rows = sequence_of(*held_of(context),
                            {{grads[0].contiguous(), HeadKind::query}, {grads[1].contiguous(), HeadKind::key_value}});
    return {std::move(rows[0]), std::move(rows[1]), {}};
  }
};

class ToSequence : public Function<ToSequence> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y, const c10::intrusive_ptr<Held>& held) {
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    return sequence_of(*held, {{y.contiguous(), HeadKind::query}})[0];
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    return {heads_of(*held_of(context), {{grads[0].contiguous(), HeadKind::query}})[0], {}};
  }
};

c10::intrusive_ptr<Held> hold(const std::shared_ptr<const HeadSharing>& sharing) {
  auto held = c10::make_intrusive<Held>();
  held->sharing = sharing;
  for (const HeadShare& share : sharing->shares) {
    held->heads = std::max(held->heads, share.q.end);
    held->groups = std::max(held->groups, share.kv.end);
  }
  return held;
}

}  // namespace

ScanHeads to_heads(const ScanHeads& rows, const std::shared_ptr<const HeadSharing>& sharing) {
  variable_list out = ToHeads::apply(rows.of_heads, rows.of_groups, hold(sharing));
  return {std::move(out[0]), std::move(out[1])};
}

at::Tensor to_sequence(const at::Tensor& y, const std::shared_ptr<const HeadSharing>& sharing) {
  return ToSequence::apply(y, hold(sharing));
}

}  // namespace ringtron
