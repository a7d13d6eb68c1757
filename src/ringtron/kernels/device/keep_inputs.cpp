#include "ringtron/kernels/device/keep_inputs.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  PlainOperations operations;
};

class KeepingInputs : public Function<KeepingInputs> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList inputs, const c10::intrusive_ptr<Held>& held) {
    context->save_for_backward(inputs.vec());
    context->saved_data["operations"] = c10::IValue::make_capsule(held);
    return held->operations(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["operations"].toCapsule());
    variable_list leaves, wanted;
    for (const at::Tensor& x : context->get_saved_variables()) {
      leaves.push_back(x.detach());
      if (!x.requires_grad()) continue;
      leaves.back().requires_grad_(true);
      wanted.push_back(leaves.back());
    }
    at::Tensor again;
    {
      const at::AutoGradMode enabled(true);
      again = held->operations(leaves);
    }
    const variable_list found = torch::autograd::grad({again}, wanted, {grads[0]});
    variable_list all;
    auto next = found.begin();
    for (const at::Tensor& x : leaves) all.push_back(x.requires_grad() ? *next++ : at::Tensor());
    all.emplace_back();  // of `held`
    return all;
  }
};

}  // namespace

at::Tensor keeping_inputs(const PlainOperations& operations, const std::vector<at::Tensor>& inputs) {
  auto held = c10::make_intrusive<Held>();
  held->operations = operations;
  return KeepingInputs::apply(at::TensorList(inputs), held);
}

}  // namespace ringtron
