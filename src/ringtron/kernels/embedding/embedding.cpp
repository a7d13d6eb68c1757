#include "ringtron/kernels/embedding/embedding.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/embedding/embedding_gradient_params.h"

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

void add_embedding_gradient(const at::Tensor& gradient, bool begun, const at::Tensor& dy, const at::Tensor& ids) {
  const at::NoGradGuard no_grad;
  const std::int64_t rows = gradient.size(0), width = gradient.size(1);
  const at::Tensor flat_ids = ids.reshape({-1}), flat_dy = dy.reshape({-1, width});
  if (width % 8 != 0 || gradient.scalar_type() != at::kFloat || !fused_on_gpu({flat_dy})) {
    const at::Tensor outside = at::logical_or(flat_ids < 0, flat_ids >= rows);
    const at::Tensor sum = at::embedding_dense_backward(
        flat_dy.to(gradient.scalar_type()).masked_fill(outside.unsqueeze(-1), 0), flat_ids.masked_fill(outside, 0),
        rows, /*padding_idx=*/-1, /*scale_grad_by_freq=*/false);
    begun ? gradient.add_(sum) : gradient.copy_(sum);
    return;
  }
  if (!begun) gradient.zero_();
  const auto [sorted, order] = at::sort(flat_ids, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const at::Tensor dense = flat_dy.contiguous();
  EmbeddingGradientParams p{};
  p.sorted = sorted.const_data_ptr<std::int64_t>();
  p.order = order.const_data_ptr<std::int64_t>();
  p.count = flat_ids.numel();
  p.dy = dense.const_data_ptr();
  p.type = *element_of(dense);
  p.gradient = gradient.mutable_data_ptr<float>();
  p.rows = rows;
  p.width = width;
  embedding_gradient_cuda(p, current_cuda_stream());
}

}  // namespace ringtron
