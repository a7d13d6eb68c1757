#include "ringtron/tensor_parallel/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/tensor_parallel/collective_matmul.h"
#include "ringtron/tensor_parallel/mappings.h"
#include "ringtron/tensor_parallel/weight_gradient_queue.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// What a layer does besides its products; where its group has one rank, nothing.
enum class Communication {
  none,             // also a row-parallel layer without sequence parallelism, whose sum is an operation of its own
  sum_dx,           // column parallel: dx is summed
  gather_x,         // with sequence parallelism: x is gathered, dx reduce-scattered
  reduce_scatter_y  // row parallel with sequence parallelism: y is reduce-scattered, dy gathered
};

// What a backward needs beside tensors.
struct LinearCall : torch::CustomClassHolder {
  Communicator* group = nullptr;
  Communication communication = Communication::none;
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
    if (call->communication == Communication::gather_x) {
      RowGather rows(x, *call->group);
      return all_gather_matmul(rows, weight.t(), bias.value_or(at::Tensor()));
    }
    if (call->communication == Communication::reduce_scatter_y)
      return matmul_reduce_scatter(x, weight.t(), *call->group);
    return at::linear(x, weight, bias);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto call = c10::static_intrusive_pointer_cast<LinearCall>(context->saved_data["call"].toCapsule());
    const auto saved = context->get_saved_variables();
    const at::Tensor& weight = saved[0];
    // Without sequence parallelism the product hides the sum of dx, in every micro-batch.
    if (call->weight_gradient.later() != nullptr && call->communication != Communication::sum_dx)
      return backward_of_input(call, weight, saved[1], grads[0].contiguous());
    at::Tensor x = call->input_again ? call->input_again() : saved[1], dy = grads[0].contiguous(), dx;
    call->input_again = nullptr;  // and with it what it is computed from
    Work reducing;
    switch (call->communication) {
      case Communication::none:
        dx = at::matmul(dy, weight);
        break;
      case Communication::sum_dx:
        dx = at::matmul(dy, weight);
        reducing = call->group->all_reduce(dx);  // under the product below
        break;
      case Communication::gather_x: {
        RowGather rows(x, *call->group);
        dx = matmul_reduce_scatter(dy, weight, *call->group);
        x = rows.whole();
        break;
      }
      case Communication::reduce_scatter_y: {
        RowGather rows(dy, *call->group);
        dx = all_gather_matmul(rows, weight, {});
        dy = rows.whole();
        break;
      }
    }
    const at::Tensor rows_dy = dy.flatten(0, -2);
    const at::Tensor dw = call->weight_gradient.add(rows_dy, x.flatten(0, -2));
    call->weight_gradient.tell();
    const at::Tensor db = call->has_bias ? rows_dy.sum(0) : at::Tensor();
    reducing.wait();
    return {dx, dw, db, {}};
  }

  // Leaves the weight's gradient in the queue. Rows of other ranks are not kept until then, but come again.
  static variable_list backward_of_input(const c10::intrusive_ptr<LinearCall>& call, const at::Tensor& weight,
                                         const at::Tensor& x, const at::Tensor& dy) {
    at::Tensor dx;
    if (call->communication == Communication::gather_x) {
      dx = matmul_reduce_scatter(dy, weight, *call->group);
    } else if (call->communication == Communication::reduce_scatter_y) {
      RowGather rows(dy, *call->group);
      dx = all_gather_matmul(rows, weight, {});
    } else {
      dx = at::matmul(dy, weight);
    }
    // Detached: x would keep the graph.
    call->weight_gradient.later()->push(
        [call, x = x.defined() ? x.detach() : x, dy] { add_weight_gradient(*call, x, dy); });
    return {dx, {}, call->has_bias ? dy.flatten(0, -2).sum(0) : at::Tensor(), {}};
  }

  static void add_weight_gradient(const LinearCall& call, const at::Tensor& kept_x, const at::Tensor& dy) {
    const at::Tensor x = call.input_again ? call.input_again() : kept_x;
    const auto add = [&](const at::Tensor& rows_dy, const at::Tensor& rows_x) {
      call.weight_gradient.add(rows_dy.flatten(0, -2), rows_x.flatten(0, -2));
    };
    if (call.communication == Communication::gather_x) {
      RowGather rows(x, *call.group);
      for_rows_as_they_come(rows, dy, [&](const at::Tensor& come, const at::Tensor& own) { add(own, come); });
    } else if (call.communication == Communication::reduce_scatter_y) {
      RowGather rows(dy, *call.group);
      for_rows_as_they_come(rows, x, add);
    } else {
      add(dy, x);
    }
    call.weight_gradient.tell();
  }
};

at::Tensor linear(const LinearInput& x, const LinearWeight& weight, const at::Tensor& bias, Communication communication,
                  Communicator& group) {
  auto call = c10::make_intrusive<LinearCall>();
  call->group = &group;
  call->communication = group.size() == 1 ? Communication::none : communication;
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
  } else if (dy.scalar_type() == at::kHalf) {  // a sum over rows may be beyond fp16
    at::addmm_out(sum, sum, dy.t().to(at::kFloat), x.to(at::kFloat), beta);
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
  return linear(x, weight, bias, sequence_parallel ? Communication::gather_x : Communication::sum_dx, group);
}

at::Tensor row_parallel_linear(const LinearInput& x, const LinearWeight& weight, const at::Tensor& bias,
                               Communicator& group, bool sequence_parallel) {
  RT_CHECK_EQ(x.value.size(-1), weight.value.size(1), "row_parallel_linear: input channels");
  const at::Tensor y = sequence_parallel
                           ? linear(x, weight, {}, Communication::reduce_scatter_y, group)
                           : reduce_from_tensor_region(linear(x, weight, {}, Communication::none, group), group);
  return bias.defined() ? y + bias : y;
}

}  // namespace ringtron
