#include "ringtron/kernels/embedding/embedding.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// ATen's CPU kernel adds row after row to a gradient of the weight's type: in bf16 a sum that is 256 times as large as
// what comes next does not grow any more.
class WideEmbedding : public Function<WideEmbedding> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& ids) {
    context->save_for_backward({ids});
    context->saved_data["rows"] = weight.size(0);
    return at::embedding(weight, ids);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::Tensor sum = at::embedding_dense_backward(grads[0].to(at::kFloat), context->get_saved_variables()[0],
                                                        context->saved_data["rows"].toInt(), /*padding_idx=*/-1,
                                                        /*scale_grad_by_freq=*/false);
    return {sum.to(grads[0].scalar_type()), {}};
  }
};

}  // namespace

at::Tensor embedding_lookup(const at::Tensor& weight, const at::Tensor& ids) {
  // On GPUs ATen's sums are fp32 whatever the type.
  const bool wide_inside =
      weight.is_cuda() || weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kDouble;
  return wide_inside ? at::embedding(weight, ids) : WideEmbedding::apply(weight, ids);
}

}  // namespace ringtron
