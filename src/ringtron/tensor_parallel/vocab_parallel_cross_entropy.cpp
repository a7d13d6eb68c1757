#include "ringtron/tensor_parallel/vocab_parallel_cross_entropy.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

class CrossEntropy : public Function<CrossEntropy> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits, const at::Tensor& targets,
                            std::int64_t vocab_size, Communicator* group) {
    const at::ScalarType wide = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor x = logits.to(wide, /*non_blocking=*/false, /*copy=*/true);
    // A rank may hold padding only; the maximum of the group is finite all the same.
    const std::int64_t width = x.size(-1), first = width * group->rank();
    const std::int64_t real = std::clamp<std::int64_t>(vocab_size - first, 0, width);
    x.narrow(-1, real, width - real).fill_(-std::numeric_limits<double>::infinity());
    at::Tensor peak = x.amax(-1);
    group->all_reduce(peak, ReduceOp::max).wait();
    x.sub_(peak.unsqueeze(-1));

    const at::Tensor foreign = at::logical_or(targets < first, targets >= first + real);
    const at::Tensor local = (targets - first).masked_fill(foreign, 0).unsqueeze(-1);
    const at::Tensor predicted = x.gather(-1, local).squeeze(-1).masked_fill(foreign, 0);
    x.exp_();
    at::Tensor sums = at::stack({predicted, x.sum(-1)});
    group->all_reduce(sums).wait();
    const at::Tensor total = sums.select(0, 1);
    const at::Tensor loss = total.log() - sums.select(0, 0);
    x.div_(total.unsqueeze(-1));
    context->save_for_backward({x, local, foreign});
    context->saved_data["type"] = static_cast<std::int64_t>(logits.scalar_type());
    return loss;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& softmax = saved[0];
    const at::Tensor dloss = grads[0].to(softmax.scalar_type()).unsqueeze(-1);
    at::Tensor dx = softmax * dloss;
    dx.scatter_add_(-1, saved[1], dloss.masked_fill(saved[2].unsqueeze(-1), 0).neg());
    return {dx.to(static_cast<at::ScalarType>(context->saved_data["type"].toInt())), {}, {}, {}};
  }
};

}  // namespace

at::Tensor vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets, std::int64_t vocab_size,
                                        Communicator& group) {
  RT_CHECK_EQ(logits.size(0), targets.size(0), "cross entropy: rows of logits and targets");
  return CrossEntropy::apply(logits, targets, vocab_size, &group);
}

}  // namespace ringtron
