#include "ringtron/tensor_parallel/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/tensor_parallel/mappings.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// What a backward needs beside tensors.
struct LinearCall : torch::CustomClassHolder {
  Communicator* group = nullptr;  // over which dx is summed; null: it is not
  bool sequence_parallel = false;
  bool has_bias = false;
  std::function<at::Tensor()> input_again;  // null: the input is kept
  WeightGradient weight_gradient;
};

class Linear : public Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const c10::intrusive_ptr<LinearCall>& call) {
    context->save_for_backward({weight, call->input_again ? at::Tensor() : x});
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    const bool gathers = call->group != nullptr && call->sequence_parallel;
    return at::linear(gathers ? all_gather_rows(x, *call->group) : x, weight, bias);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto call = c10::static_intrusive_pointer_cast<LinearCall>(context->saved_data["call"].toCapsule());
    const auto saved = context->get_saved_variables();
    const at::Tensor x = call->input_again ? call->input_again() : saved[1];
    call->input_again = nullptr;  // and with it what it is computed from
    const at::Tensor dy = grads[0].contiguous();
    const bool gathers = call->group != nullptr && call->sequence_parallel;

    at::Tensor whole = x;
    Work gathering;
    if (gathers) {
      auto sizes = x.sizes().vec();
      sizes[0] *= call->group->size();
      whole = at::empty(sizes, x.options());
      gathering = call->group->all_gather(x.contiguous(), whole);
    }
    at::Tensor dx_partial = at::matmul(dy, saved[0]);
    gathering.wait();
    at::Tensor dx = dx_partial;
    Work reducing;
    if (gathers) {
      dx = at::empty_like(x, at::MemoryFormat::Contiguous);
      reducing = call->group->reduce_scatter(dx_partial, dx);
    } else if (call->group != nullptr) {
      reducing = call->group->all_reduce(dx);
    }
    const at::Tensor rows_dy = dy.flatten(0, -2);
    const at::Tensor dw = call->weight_gradient.add(rows_dy, whole.flatten(0, -2));
    call->weight_gradient.tell();
    const at::Tensor db = call->has_bias ? rows_dy.sum(0) : at::Tensor();
    reducing.wait();
    return {dx, dw, db, {}};
  }
};

at::Tensor linear(const LinearInput& x, const LinearWeight& weight, const at::Tensor& bias, Communicator* group,
                  bool sequence_parallel) {
  auto call = c10::make_intrusive<LinearCall>();
  call->group = group;
  call->sequence_parallel = sequence_parallel;
  call->has_bias = bias.defined();
  if (at::GradMode::is_enabled()) call->input_again = x.again;
  call->weight_gradient = WeightGradient(weight);
  // Function::apply fails on an undefined tensor, but takes an empty optional.
  const std::optional<at::Tensor> some_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  return Linear::apply(x.value, weight.value, some_bias, call);
}

}  // namespace

at::Tensor WeightGradient::add(const at::Tensor& dy, const at::Tensor& x) const {
  if (parameter_ == nullptr) return at::matmul(dy.t(), x);
  const at::NoGradGuard no_grad;
  at::Tensor& sum = parameter_->gradient;
  const bool begun = parameter_->gradient_begun;
  const double beta = begun ? 1.0 : 0.0;
  if (sum.scalar_type() == dy.scalar_type()) {
    at::addmm_out(sum, sum, dy.t(), x, beta);
  } else if (dy.is_cuda()) {
    at::addmm_out(sum, sum, dy.t(), x, sum.scalar_type(), beta);
  } else if (begun) {  // no product on CPUs adds narrow factors to a wide sum
    sum.add_(at::matmul(dy.t(), x));
  } else {
    sum.copy_(at::matmul(dy.t(), x));
  }
  parameter_->gradient_begun = true;
  return {};
}

void WeightGradient::tell() const {
  if (parameter_ != nullptr && tells_) parameter_->gradient_added();
}

at::Tensor column_parallel_linear(const LinearInput& x, const LinearWeight& weight, const at::Tensor& bias,
                                  Communicator& group, bool sequence_parallel) {
  RT_CHECK_EQ(x.value.dim(), 3, "column_parallel_linear: dimensions of x [s, b, in]");
  RT_CHECK_EQ(x.value.size(-1), weight.value.size(1), "column_parallel_linear: input channels");
  return linear(x, weight, bias, group.size() == 1 ? nullptr : &group, sequence_parallel);
}

at::Tensor row_parallel_linear(const LinearInput& x, const LinearWeight& weight, const at::Tensor& bias,
                               Communicator& group, bool sequence_parallel) {
  RT_CHECK_EQ(x.value.size(-1), weight.value.size(1), "row_parallel_linear: input channels");
  const at::Tensor partial = linear(x, weight, {}, nullptr, false);
  const at::Tensor y =
      sequence_parallel ? reduce_scatter_to_sequence_region(partial, group) : reduce_from_tensor_region(partial, group);
  return bias.defined() ? y + bias : y;
}

}  // namespace ringtron
