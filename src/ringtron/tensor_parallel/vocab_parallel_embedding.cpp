#include "ringtron/tensor_parallel/vocab_parallel_embedding.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ringtron/kernels/embedding/embedding.h"
#include "ringtron/tensor_parallel/mappings.h"

namespace ringtron {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct LookupCall : torch::CustomClassHolder {
  explicit LookupCall(Parameter* of) : parameter(of) {}
  Parameter* parameter;
};

// Rows of a parameter, whose gradient goes into its sum. ids: as for add_embedding_gradient; what stands outside is
// looked up as row 0.
class Lookup : public Function<Lookup> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& ids,
                            const at::Tensor& inside, const c10::intrusive_ptr<LookupCall>& call) {
    context->save_for_backward({ids});
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    return at::embedding(weight, inside);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<LookupCall>(context->saved_data["call"].toCapsule());
    Parameter& parameter = *call->parameter;
    add_embedding_gradient(parameter.gradient, parameter.gradient_begun, grads[0], context->get_saved_variables()[0]);
    parameter.gradient_begun = true;
    parameter.gradient_added();
    return {{}, {}, {}, {}};
  }
};

at::Tensor lookup(const LinearWeight& weight, const at::Tensor& ids, const at::Tensor& inside) {
  const bool adds = weight.parameter != nullptr && weight.parameter->gradient_added;
  if (!adds) return embedding_lookup(weight.value, inside);
  return Lookup::apply(weight.value, ids, inside, c10::make_intrusive<LookupCall>(weight.parameter));
}

}  // namespace

at::Tensor vocab_parallel_embedding(const at::Tensor& tokens, const LinearWeight& weight, Communicator& group,
                                    bool to_sequence_region) {
  const at::Tensor ids = tokens.t().contiguous();
  if (group.size() == 1) return lookup(weight, ids, ids);
  const std::int64_t rows = weight.value.size(0), first = rows * group.rank();
  const at::Tensor local = ids - first, foreign = at::logical_or(local < 0, local >= rows);
  const at::Tensor partial = lookup(weight, local, local.masked_fill(foreign, 0)).masked_fill(foreign.unsqueeze(-1), 0);
  return to_sequence_region ? reduce_scatter_to_sequence_region(partial, group)
                            : reduce_from_tensor_region(partial, group);
}

}  // namespace ringtron
