#include "ringtron/modules/recompute.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SavedSegment final : torch::CustomClassHolder {
  explicit SavedSegment(SegmentFunction saved) : segment(std::move(saved)) {}
  SegmentFunction segment;
};

class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  // Autograd switches gradients off in here.
  static at::Tensor forward(AutogradContext* context, at::TensorList inputs,
                            const c10::intrusive_ptr<SavedSegment>& saved) {
    context->save_for_backward(inputs.vec());
    context->saved_data["segment"] = c10::IValue::make_capsule(saved);
    return saved->segment({inputs.data(), inputs.size()});
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = c10::static_intrusive_pointer_cast<SavedSegment>(context->saved_data["segment"].toCapsule());
    variable_list inputs;
    for (const at::Tensor& input : context->get_saved_variables()) {
      inputs.push_back(input.detach().requires_grad_(input.requires_grad()));
    }
    at::Tensor out;
    {
      const at::AutoGradMode on(true);
      out = saved->segment(inputs);
    }
    // Not autograd::grad: parameters shall get their gradients here, one after the other, so that their
    // reduction hides behind the rest of the segment.
    torch::autograd::backward({out}, {gradients[0]});
    variable_list result;
    for (const at::Tensor& input : inputs) result.push_back(input.grad());
    result.emplace_back();  // of the segment
    return result;
  }
};

}  // namespace

at::Tensor recomputed(SegmentFunction segment, std::vector<at::Tensor> inputs) {
  if (!at::GradMode::is_enabled()) return segment(inputs);
  RT_CHECK(std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& x) { return x.requires_grad(); }),
           "a recomputed piece of the model has no input that requires a gradient: its parameters would get none");
  // A vector would not be taken for tensors.
  return Recomputed::apply(at::TensorList(inputs), c10::make_intrusive<SavedSegment>(std::move(segment)));
}

}  // namespace ringtron
