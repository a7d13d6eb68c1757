#include "ringtron/kernels/device/joined_gradient.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/row_views.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  std::shared_ptr<JoinedGradient> gradient;
  std::vector<std::int64_t> sizes;
};

// Of equal sizes. Strides of dimensions of one element say nothing.
bool is_same_memory(const at::Tensor& x, const at::Tensor& y) {
  bool same = x.const_data_ptr() == y.const_data_ptr();
  for (std::int64_t k = 0; k < x.dim(); ++k) same = same && (x.size(k) == 1 || x.stride(k) == y.stride(k));
  return same;
}

class Split : public Function<Split> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const c10::intrusive_ptr<Held>& held) {
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    context->set_materialize_grads(false);
    variable_list parts;
    std::int64_t begin = 0;
    for (const std::int64_t size : held->sizes) {
      // Aliases, not views in autograd's sense, which allows one output of a function to be a view.
      parts.push_back(x.detach().narrow(-1, begin, size));
      begin += size;
    }
    return parts;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule());
    return {held->gradient->take(grads), {}};
  }
};

}  // namespace

JoinedGradient::JoinedGradient(const at::Tensor& x, std::vector<std::int64_t> sizes)
    : whole_sizes_(x.sizes().vec()), sizes_(std::move(sizes)), options_(x.options()) {
  std::int64_t end = 0;
  for (const std::int64_t size : sizes_) {
    begins_.push_back(end);
    end += size;
  }
  RT_CHECK_EQ(end, whole_sizes_.back(), "joined gradient: sizes of the parts");
}

at::Tensor JoinedGradient::view(const at::Tensor& whole, std::size_t index) const {
  return whole.narrow(-1, begins_[index], sizes_[index]);
}

at::Tensor JoinedGradient::part(std::size_t index) {
  if (!whole_.defined()) whole_ = at::empty(whole_sizes_, options_);
  return view(whole_, index);
}

at::Tensor JoinedGradient::take(const std::vector<at::Tensor>& gradients) {
  at::Tensor whole = std::exchange(whole_, {});
  if (!whole.defined()) whole = at::empty(whole_sizes_, options_);
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    const at::Tensor to = view(whole, i);
    if (!gradients[i].defined())
      to.zero_();
    else if (!is_same_memory(gradients[i], to))
      to.copy_(gradients[i]);
  }
  return whole;
}

at::Tensor GradientPlace::like(const at::Tensor& x, std::int64_t elements) const {
  at::Tensor to = of ? of->part(part) : at::Tensor();
  if (!of || !has_rows(to, elements, 1)) return at::empty(x.sizes(), x.options());
  if (x.dim() > to.dim()) to = to.unflatten(-1, x.sizes().slice(static_cast<std::size_t>(to.dim()) - 1));
  RT_CHECK(to.sizes() == x.sizes(), "joined gradient: sizes of a part");
  return to;
}

SplitTensor split_joined(const at::Tensor& x, const std::vector<std::int64_t>& sizes) {
  auto held = c10::make_intrusive<Held>();
  held->gradient = std::make_shared<JoinedGradient>(x, sizes);
  held->sizes = sizes;
  SplitTensor out{Split::apply(x, held), {}};
  for (std::size_t i = 0; i < sizes.size(); ++i) out.places.push_back({held->gradient, i});
  return out;
}

}  // namespace ringtron
