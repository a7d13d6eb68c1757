// Fused kernels that make sense alone, as operators: torch.ops.ringtron.swiglu and cross_entropy. On a CPU, and where a
// kernel does not take a tensor, they are composed of ATen's operations.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <tuple>

#include "ringtron/kernels/activation/activation.h"
#include "ringtron/kernels/cross_entropy/cross_entropy.h"

namespace ringtron::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

template <class Kernel>
auto operator_of(const char* name, Kernel*) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").template typed<Kernel>();
}

void check_floating(const char* what, const at::Tensor& x) {
  TORCH_CHECK_TYPE(at::isFloatingType(x.scalar_type()), "ringtron: ", what, ": expected a floating type, got ",
                   x.scalar_type());
}

// SwiGLU.

void check_swiglu(const at::Tensor& x) {
  check_floating("swiglu", x);
  TORCH_CHECK_VALUE(x.dim() > 0 && x.sym_size(-1) % 2 == 0,
                    "ringtron: swiglu: expected [..., gate and up channels of equal number], got ", x.sym_sizes());
}

at::Tensor swiglu(const at::Tensor& x) {
  check_swiglu(x);
  return activation_forward(x.contiguous(), Activation::swiglu);
}

at::Tensor swiglu_shape(const at::Tensor& x) {
  check_swiglu(x);
  std::vector<c10::SymInt> sizes = x.sym_sizes().vec();
  sizes.back() = sizes.back() / 2;
  return at::empty_symint(sizes, x.options());
}

at::Tensor swiglu_backward(const at::Tensor& dy, const at::Tensor& x) {
  return activation_backward(x.contiguous(), dy.contiguous(), Activation::swiglu);
}

at::Tensor swiglu_backward_shape(const at::Tensor&, const at::Tensor& x) {
  return at::empty_symint(x.sym_sizes(), x.options());
}

class Swiglu : public Function<Swiglu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    static const auto op = operator_of("ringtron::swiglu", swiglu);
    context->save_for_backward({x});
    return op.call(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto op = operator_of("ringtron::_swiglu_backward", swiglu_backward);
    return {op.call(grads[0], context->get_saved_variables()[0])};
  }
};

at::Tensor swiglu_with_autograd(const at::Tensor& x) { return Swiglu::apply(x); }

// Cross entropy of each token.

void check_cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  check_floating("cross_entropy", logits);
  TORCH_CHECK_TYPE(targets.scalar_type() == at::kLong, "ringtron: cross_entropy: expected targets of int64, got ",
                   targets.scalar_type());
  TORCH_CHECK_VALUE(logits.device() == targets.device(),
                    "ringtron: cross_entropy: expected logits and targets on one device, got ", logits.device(),
                    " and ", targets.device());
  TORCH_CHECK_VALUE(logits.dim() > 1 && logits.sym_size(-1) > 0 &&
                        logits.sym_sizes().slice(0, static_cast<std::size_t>(logits.dim()) - 1) == targets.sym_sizes(),
                    "ringtron: cross_entropy: expected logits [..., vocabulary] and targets [...], got ",
                    logits.sym_sizes(), " and ", targets.sym_sizes());
}

VocabularyPart whole_vocabulary(const at::Tensor& logits) { return {0, logits.size(-1)}; }

// The loss, 0 where the target is to be ignored, and the logarithm of the sum of exp(logit), for the backward.
std::tuple<at::Tensor, at::Tensor> cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                                                 std::int64_t ignore_index) {
  check_cross_entropy(logits, targets);
  const at::Tensor ignored = targets == ignore_index;
  if (targets.is_cpu()) {  // on a GPU the host would have to wait
    const at::Tensor outside = (targets < 0).logical_or(targets >= logits.size(-1)).logical_and(ignored.logical_not());
    TORCH_CHECK_INDEX(!outside.any().item<bool>(), "ringtron: cross_entropy: expected targets from 0 to ",
                      logits.size(-1) - 1, " or ", ignore_index, ", got ",
                      targets.masked_select(outside)[0].item<std::int64_t>());
  }
  const at::Tensor x = logits.contiguous();
  const RowStatistics rows = cross_entropy_statistics(x, targets, whole_vocabulary(x));
  const at::Tensor log_sum = rows.sum.log().add_(rows.peak);
  return {(log_sum - rows.predicted).masked_fill_(ignored, 0), log_sum};
}

std::tuple<at::Tensor, at::Tensor> cross_entropy_shapes(const at::Tensor& logits, const at::Tensor& targets,
                                                        std::int64_t) {
  check_cross_entropy(logits, targets);
  const auto options = logits.options().dtype(logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  return {at::empty_symint(targets.sym_sizes(), options), at::empty_symint(targets.sym_sizes(), options)};
}

at::Tensor cross_entropy_backward(const at::Tensor& d_loss, const at::Tensor& logits, const at::Tensor& targets,
                                  const at::Tensor& log_sum, std::int64_t ignore_index) {
  const at::Tensor x = logits.contiguous();
  const at::Tensor counted = d_loss.masked_fill(targets == ignore_index, 0);
  return cross_entropy_gradient(x, targets, whole_vocabulary(x), log_sum, counted, /*in_place=*/false);
}

at::Tensor cross_entropy_backward_shape(const at::Tensor&, const at::Tensor& logits, const at::Tensor&,
                                        const at::Tensor&, std::int64_t) {
  return at::empty_symint(logits.sym_sizes(), logits.options());
}

class CrossEntropy : public Function<CrossEntropy> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& logits, const at::Tensor& targets,
                               std::int64_t ignore_index) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    static const auto op = operator_of("ringtron::_cross_entropy", cross_entropy);
    const auto [loss, log_sum] = op.call(logits, targets, ignore_index);
    context->save_for_backward({logits, targets, log_sum});
    context->mark_non_differentiable({log_sum});
    context->saved_data["ignore_index"] = ignore_index;
    return {loss, log_sum};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto op = operator_of("ringtron::_cross_entropy_backward", cross_entropy_backward);
    const variable_list saved = context->get_saved_variables();
    return {op.call(grads[0], saved[0], saved[1], saved[2], context->saved_data["ignore_index"].toInt()), {}, {}};
  }
};

std::tuple<at::Tensor, at::Tensor> cross_entropy_with_autograd(const at::Tensor& logits, const at::Tensor& targets,
                                                               std::int64_t ignore_index) {
  const variable_list results = CrossEntropy::apply(logits, targets, ignore_index);
  return {results[0], results[1]};
}

at::Tensor token_losses(const at::Tensor& logits, const at::Tensor& targets, std::int64_t ignore_index) {
  static const auto op = operator_of("ringtron::_cross_entropy", cross_entropy);
  return std::get<0>(op.call(logits, targets, ignore_index));
}

TORCH_LIBRARY_FRAGMENT(ringtron, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def("swiglu(Tensor x) -> Tensor", tags);
  library.def("_swiglu_backward(Tensor dy, Tensor x) -> Tensor", tags);
  library.def("cross_entropy(Tensor logits, Tensor targets, int ignore_index=-100) -> Tensor", tags);
  library.def("_cross_entropy(Tensor logits, Tensor targets, int ignore_index) -> (Tensor, Tensor)", tags);
  library.def(
      "_cross_entropy_backward(Tensor d_loss, Tensor logits, Tensor targets, Tensor log_sum, int ignore_index) -> Tensor",
      tags);
}

void on_device(torch::Library& library) {
  library.impl("swiglu", TORCH_FN(swiglu));
  library.impl("_swiglu_backward", TORCH_FN(swiglu_backward));
  library.impl("_cross_entropy", TORCH_FN(cross_entropy));
  library.impl("_cross_entropy_backward", TORCH_FN(cross_entropy_backward));
}
TORCH_LIBRARY_IMPL(ringtron, CPU, library) { on_device(library); }
TORCH_LIBRARY_IMPL(ringtron, CUDA, library) { on_device(library); }

TORCH_LIBRARY_IMPL(ringtron, Meta, library) {
  library.impl("swiglu", TORCH_FN(swiglu_shape));
  library.impl("_swiglu_backward", TORCH_FN(swiglu_backward_shape));
  library.impl("_cross_entropy", TORCH_FN(cross_entropy_shapes));
  library.impl("_cross_entropy_backward", TORCH_FN(cross_entropy_backward_shape));
}

TORCH_LIBRARY_IMPL(ringtron, Autograd, library) {
  library.impl("swiglu", TORCH_FN(swiglu_with_autograd));
  library.impl("_cross_entropy", TORCH_FN(cross_entropy_with_autograd));
  library.impl("_swiglu_backward", torch::autograd::autogradNotImplementedFallback());
  library.impl("_cross_entropy_backward", torch::autograd::autogradNotImplementedFallback());
}

TORCH_LIBRARY_IMPL(ringtron, CompositeImplicitAutograd, library) {
  library.impl("cross_entropy", TORCH_FN(token_losses));
}

}  // namespace
}  // namespace ringtron::ops
