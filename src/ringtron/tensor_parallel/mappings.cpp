#include "ringtron/tensor_parallel/mappings.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ringtron/base/check.h"
#include "ringtron/tensor_parallel/saved_group.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

enum class Mapping : std::int64_t { copy, reduce, slice, gather, reduce_scatter };

at::Tensor all_reduced(const at::Tensor& x, Communicator& group) {
  at::Tensor out = x.clone(at::MemoryFormat::Contiguous);
  group.all_reduce(out).wait();
  return out;
}

at::Tensor own_rows(const at::Tensor& x, Communicator& group) {
  check_rows_divide(x, group);
  const std::int64_t rows = x.size(0) / group.size();
  return x.narrow(0, rows * group.rank(), rows).contiguous();
}

at::Tensor run(Mapping mapping, const at::Tensor& x, Communicator& group) {
  switch (mapping) {
    case Mapping::copy:
      return x;
    case Mapping::reduce:
      return all_reduced(x, group);
    case Mapping::slice:
      return own_rows(x, group);
    case Mapping::gather:
      return all_gather_rows(x, group);
    case Mapping::reduce_scatter:
      return reduce_scatter_rows(x, group);
  }
  RT_CHECK(false, "unknown mapping");
}

class Map : public Function<Map> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, std::int64_t forward, std::int64_t backward,
                            Communicator* group) {
    context->saved_data["backward"] = backward;
    context->saved_data["group"] = save_group(*group);
    const at::Tensor out = run(static_cast<Mapping>(forward), x, *group);
    return out.is_same(x) ? x.view_as(x) : out;
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    Communicator& group = group_of(context->saved_data["group"]);
    return {run(static_cast<Mapping>(context->saved_data["backward"].toInt()), grads[0], group), {}, {}, {}};
  }
};

at::Tensor apply(const at::Tensor& x, Mapping forward, Mapping backward, Communicator& group) {
  if (group.size() == 1) return x;
  return Map::apply(x, static_cast<std::int64_t>(forward), static_cast<std::int64_t>(backward), &group);
}

}  // namespace

void check_rows_divide(const at::Tensor& x, const Communicator& group) {
  RT_CHECK(x.size(0) % group.size() == 0,
           "sequence parallelism: expected sequence rows that the {} group's {} ranks divide, got {} on rank "
           "{}; pad the "
           "sequence, or choose another length or group size",
           group.name(), group.size(), x.size(0), group.rank());
}

at::Tensor all_gather_rows(const at::Tensor& x, Communicator& group) {
  if (group.size() == 1) return x;
  auto sizes = x.sizes().vec();
  sizes[0] *= group.size();
  at::Tensor whole = at::empty(sizes, x.options());
  group.all_gather(x.contiguous(), whole).wait();
  return whole;
}

at::Tensor reduce_scatter_rows(const at::Tensor& x, Communicator& group) {
  if (group.size() == 1) return x;
  check_rows_divide(x, group);
  auto sizes = x.sizes().vec();
  sizes[0] /= group.size();
  at::Tensor shard = at::empty(sizes, x.options());
  group.reduce_scatter(x.contiguous(), shard).wait();
  return shard;
}

at::Tensor copy_to_tensor_region(const at::Tensor& x, Communicator& group) {
  return apply(x, Mapping::copy, Mapping::reduce, group);
}
at::Tensor reduce_from_tensor_region(const at::Tensor& x, Communicator& group) {
  return apply(x, Mapping::reduce, Mapping::copy, group);
}
at::Tensor scatter_to_sequence_region(const at::Tensor& x, Communicator& group) {
  return apply(x, Mapping::slice, Mapping::gather, group);
}
at::Tensor gather_from_sequence_region(const at::Tensor& x, Communicator& group) {
  return apply(x, Mapping::gather, Mapping::reduce_scatter, group);
}
at::Tensor reduce_scatter_to_sequence_region(const at::Tensor& x, Communicator& group) {
  return apply(x, Mapping::reduce_scatter, Mapping::gather, group);
}

}  // namespace ringtron
