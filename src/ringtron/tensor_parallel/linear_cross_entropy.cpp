#include "ringtron/tensor_parallel/linear_cross_entropy.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/kernels/cross_entropy/cross_entropy.h"
#include "ringtron/tensor_parallel/mappings.h"
#include "ringtron/tensor_parallel/vocab_parallel_cross_entropy.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr std::int64_t kRowsOfATile = 128;  // of a matrix product: chunks are multiples of it

struct LossCall : torch::CustomClassHolder {
  Communicator* group = nullptr;
  WeightGradient weight_gradient;
  std::int64_t vocab_size = 0;
  bool sequence_parallel = false;
  std::int64_t logit_bytes = 0;
  bool gradients = false;
};

std::int64_t positions_of_a_chunk(const at::Tensor& x, const at::Tensor& weight, std::int64_t logit_bytes) {
  const std::int64_t bytes = std::max<std::int64_t>(x.size(1) * weight.size(0) * weight.element_size(), 1);
  const std::int64_t most = std::max<std::int64_t>(logit_bytes / bytes, 1);
  return most < kRowsOfATile ? most : most / kRowsOfATile * kRowsOfATile;
}

class LinearCrossEntropy : public Function<LinearCrossEntropy> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& targets, const at::Tensor& token_weights,
                               const c10::intrusive_ptr<LossCall>& call) {
    Communicator& group = *call->group;
    const at::Tensor rows = call->sequence_parallel ? all_gather_rows(x, group) : x.contiguous();
    const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor each = at::empty(targets.sizes(), x.options().dtype(wide));
    at::Tensor dx = call->gradients ? at::empty_like(rows) : at::Tensor(), dw;
    const std::int64_t all = rows.size(0), most = positions_of_a_chunk(rows, weight, call->logit_bytes);
    std::int64_t first = 0;
    do {  // once without rows too, for the collectives and the weight's gradient
      const std::int64_t count = std::min(most, all - first);
      const auto chunk = [&](const at::Tensor& t) { return t.narrow(0, first, count); };
      const at::Tensor logits = at::linear(chunk(rows), weight);
      const CrossEntropy loss = vocab_parallel_cross_entropy(logits, chunk(targets), call->vocab_size, group);
      chunk(each).copy_(loss.each);
      if (call->gradients) {
        const at::Tensor d_logits =
            cross_entropy_gradient(logits, chunk(targets), loss.part, loss.log_sum, chunk(token_weights),
                                   /*in_place=*/true)
                .flatten(0, 1);
        at::Tensor dx_rows = chunk(dx).flatten(0, 1);
        at::mm_out(dx_rows, d_logits, weight);
        const at::Tensor share = call->weight_gradient.add(d_logits, chunk(rows).flatten(0, 1));
        if (share.defined()) dw = dw.defined() ? dw + share : share;
      }
      first += count;
    } while (first < all);

    if (call->gradients) {
      call->weight_gradient.tell();
      if (call->sequence_parallel) {
        dx = reduce_scatter_rows(dx, group);
      } else if (group.size() > 1) {
        group.all_reduce(dx).wait();
      }
    }
    context->save_for_backward({dx, dw});
    context->mark_non_differentiable({each});
    return {each, (each * token_weights).sum()};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    RT_CHECK(!grads[1].is_cpu() || grads[1].item<double>() == 1.0,
             "the loss made its gradients in the forward, for a gradient of 1, and backward began with {}",
             grads[1].item<double>());
    variable_list saved = context->get_saved_variables();
    return {saved[0], saved[1], {}, {}, {}};
  }
};

}  // namespace

TokenLosses linear_cross_entropy(const at::Tensor& x, const LinearWeight& weight, const at::Tensor& targets,
                                 const at::Tensor& token_weights, std::int64_t vocab_size, Communicator& group,
                                 bool sequence_parallel, std::int64_t logit_bytes) {
  RT_CHECK(x.dim() == 3 && x.size(-1) == weight.value.size(1), "linear cross entropy: expected x [s, b, {}], got [{}]",
           weight.value.size(1), fmt::join(x.sizes(), ", "));
  const std::int64_t positions = x.size(0) * (sequence_parallel ? group.size() : 1);
  RT_CHECK(targets.sizes() == at::IntArrayRef({positions, x.size(1)}) && token_weights.sizes() == targets.sizes(),
           "linear cross entropy: expected targets and weights [{}, {}], got [{}] and [{}]", positions, x.size(1),
           fmt::join(targets.sizes(), ", "), fmt::join(token_weights.sizes(), ", "));
  auto call = c10::make_intrusive<LossCall>();
  call->group = &group;
  call->weight_gradient = WeightGradient(weight);
  call->vocab_size = vocab_size;
  call->sequence_parallel = sequence_parallel && group.size() > 1;
  call->logit_bytes = logit_bytes;
  call->gradients = at::GradMode::is_enabled() && (x.requires_grad() || weight.value.requires_grad());
  variable_list out = LinearCrossEntropy::apply(x, weight.value, targets, token_weights, call);
  return {std::move(out[0]), std::move(out[1])};
}

}  // namespace ringtron
