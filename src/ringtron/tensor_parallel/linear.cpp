#include "ringtron/tensor_parallel/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/tensor_parallel/mappings.h"
#include "ringtron/tensor_parallel/saved_group.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

class ColumnParallel : public Function<ColumnParallel> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, Communicator* group,
                            bool sequence_parallel) {
    context->save_for_backward({x, weight});
    context->saved_data["group"] = save_group(*group);
    context->saved_data["sequence_parallel"] = sequence_parallel;
    context->saved_data["has_bias"] = bias.has_value();
    return at::linear(sequence_parallel ? all_gather_rows(x, *group) : x, weight, bias);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    Communicator& group = group_of(context->saved_data["group"]);
    const bool sequence_parallel = context->saved_data["sequence_parallel"].toBool();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor dy = grads[0].contiguous();

    at::Tensor whole = x;
    Work gathering;
    if (sequence_parallel) {
      auto sizes = x.sizes().vec();
      sizes[0] *= group.size();
      whole = at::empty(sizes, x.options());
      gathering = group.all_gather(x.contiguous(), whole);
    }
    at::Tensor dx_partial = at::matmul(dy, saved[1]);
    gathering.wait();
    at::Tensor dx = dx_partial;
    Work reducing;
    if (sequence_parallel) {
      dx = at::empty_like(x, at::MemoryFormat::Contiguous);
      reducing = group.reduce_scatter(dx_partial, dx);
    } else {
      reducing = group.all_reduce(dx);
    }
    const at::Tensor rows_dy = dy.flatten(0, 1);
    const at::Tensor dw = at::matmul(rows_dy.t(), whole.flatten(0, 1));
    const at::Tensor db = context->saved_data["has_bias"].toBool() ? rows_dy.sum(0) : at::Tensor();
    reducing.wait();
    return {dx, dw, db, {}, {}};
  }
};

}  // namespace

at::Tensor column_parallel_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                  Communicator& group, bool sequence_parallel) {
  RT_CHECK_EQ(x.dim(), 3, "column_parallel_linear: dimensions of x [s, b, in]");
  RT_CHECK_EQ(x.size(-1), weight.size(1), "column_parallel_linear: input channels");
  if (group.size() == 1) return at::linear(x, weight, bias);
  // Function::apply fails on an undefined tensor, but takes an empty optional.
  const std::optional<at::Tensor> some_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  return ColumnParallel::apply(x, weight, some_bias, &group, sequence_parallel);
}

at::Tensor row_parallel_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               Communicator& group, bool sequence_parallel) {
  RT_CHECK_EQ(x.size(-1), weight.size(1), "row_parallel_linear: input channels");
  const at::Tensor partial = at::linear(x, weight);
  const at::Tensor y = sequence_parallel ? reduce_scatter_to_sequence_region(partial, group)
                                         : reduce_from_tensor_region(partial, group);
  return bias.defined() ? y + bias : y;
}

}  // namespace ringtron
