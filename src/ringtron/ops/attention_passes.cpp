// Both passes of context-parallel attention as operators on plain tensors, for CPU and CUDA, their shapes for
// torch.compile (Meta), and autograd over them. attention_ops.cpp has the operators that people call.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <tuple>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/context_parallel/run/attention_run.h"
#include "ringtron/ops/attention_group.h"
#include "ringtron/ops/attention_passes.h"

namespace ringtron::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;
using std::string_view;

// Output, log-sum-exp, and what SavedRows says: q, k, v, out; of no elements where the inputs or the output serve.
using Forward = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
using Backward = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

AttentionOptions options_of(string_view group_name, string_view cp_comm_type, string_view layout,
                            at::IntArrayRef numbers, double scale) {
  AttentionOptions options;
  options.group_name = group_name;
  options.cp_comm_type = cp_comm_type;
  options.layout = layout;
  options.scale = scale;
  options.set_numbers(numbers);
  return options;
}

// The errors of a group as torch.distributed's own.
template <class Step>
auto communicating(Step step) {
  try {
    return step();
  } catch (const CommError& error) {
    C10_THROW_ERROR(DistBackendError, error.what());
  }
}

c10::intrusive_ptr<AttentionRun> run_of(AttentionGroup& group, const AttentionOptions& options,
                                        const OptionalTensor& cu_seqlens, const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v) {
  AttentionCall call;
  call.scale = options.scale;
  call.causal = options.causal;
  call.window = options.window;
  call.transport = transport_of(options.cp_comm_type);
  call.shape =
      group.shape(options, cu_seqlens ? document_starts(*cu_seqlens, options.seq_length) : std::vector<std::int64_t>());
  return c10::make_intrusive<AttentionRun>(group.schedules(options), std::move(call), q, k, v);
}

// `rows` rows of memory of its own; those behind x's are not read.
at::Tensor of_rows(const at::Tensor& x, std::int64_t rows, const at::Tensor& input) {
  const bool is_input = x.is_alias_of(input);
  if (!is_input && x.size(0) == rows) return x.contiguous();
  RT_CHECK_LE(x.size(0), rows, "rows of keys that are kept");
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes[0] = rows;
  at::Tensor wide = at::empty(sizes, x.options());
  wide.narrow(0, 0, x.size(0)).copy_(x);
  return wide;
}

Forward forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                const OptionalTensor& cu_seqlens, string_view group_name, string_view cp_comm_type, string_view layout,
                at::IntArrayRef numbers, double scale) {
  const AttentionOptions options = options_of(group_name, cp_comm_type, layout, numbers, scale);
  const at::Tensor q = query.contiguous(), k = key.contiguous(), v = value.contiguous();
  check_attention(options, q, k, v);
  AttentionGroup& group = attention_group(options.group_name, q.device().type());
  const std::lock_guard lock(group.mutex());
  return communicating([&]() -> Forward {
    const auto run = run_of(group, options, cu_seqlens, q, k, v);
    const auto [out, saved] = run->forward(q, k, v);
    const SavedRows& rows = group.saved(options, q.size(2));
    const auto none = [&] { return at::empty({0}, q.options()); };  // operators return no tensor twice
    at::Tensor saved_q = none(), saved_out = none(), saved_k = none(), saved_v = none();
    if (rows.heads_exchanged) {
      saved_q = saved.q.contiguous();
      saved_out = of_rows(saved.out, saved.out.size(0), out);
    }
    if (rows.keys > 0) {
      saved_k = of_rows(saved.k, rows.keys, k);
      saved_v = of_rows(saved.v, rows.keys, v);
    }
    return {out, saved.lse.contiguous(), saved_q, saved_k, saved_v, saved_out};
  });
}

Forward forward_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OptionalTensor&,
                       string_view group_name, string_view cp_comm_type, string_view layout, at::IntArrayRef numbers,
                       double scale) {
  const AttentionOptions options = options_of(group_name, cp_comm_type, layout, numbers, scale);
  check_attention(options, q, k, v);
  const SavedRows rows = saved_rows(options, size_of(q, 2));
  const c10::SymInt b = q.sym_size(1);
  const auto like = [&](const c10::SymInt& s, const c10::SymInt& heads, const at::Tensor& x) {
    return at::empty_symint({s, b, heads, x.sym_size(3)}, q.options());
  };
  const auto none = [&] { return at::empty({0}, q.options()); };
  const c10::SymInt queries = rows.heads.q.length(), keys = rows.heads.kv.length();
  const bool heads = rows.heads_exchanged, keeps = rows.keys > 0;
  return {like(q.sym_size(0), q.sym_size(2), v),
          at::empty_symint({b, queries, rows.queries}, q.options().dtype(accumulate_type(q.scalar_type()))),
          heads ? like(rows.queries, queries, q) : none(),
          keeps ? like(rows.keys, keys, k) : none(),
          keeps ? like(rows.keys, keys, v) : none(),
          heads ? like(rows.queries, queries, v) : none()};
}

Backward backward(const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const at::Tensor& out, const at::Tensor& lse, const OptionalTensor& cu_seqlens,
                  string_view group_name, string_view cp_comm_type, string_view layout, at::IntArrayRef numbers,
                  double scale) {
  const AttentionOptions options = options_of(group_name, cp_comm_type, layout, numbers, scale);
  // As the inputs of the forward but for their rows: that is all a schedule is chosen by.
  const auto input = [&](std::int64_t heads, std::int64_t size) {
    return at::empty({0, d_out.size(1), heads, size}, d_out.options());
  };
  AttentionGroup& group = attention_group(options.group_name, d_out.device().type());
  const std::lock_guard lock(group.mutex());
  return communicating([&]() -> Backward {
    const auto run = run_of(group, options, cu_seqlens, input(d_out.size(2), q.size(3)),
                            input(options.groups, q.size(3)), input(options.groups, d_out.size(3)));
    const Schedule& schedule = run->prepared().schedules.forward;
    const std::int64_t keys = schedule.buffer(schedule.saved).length();
    const SavedForward saved{q.contiguous(), k.narrow(0, 0, keys).contiguous(), v.narrow(0, 0, keys).contiguous(),
                             out.contiguous(), lse.contiguous()};
    const Gradients gradients = run->backward(saved, d_out.contiguous());
    return {gradients.dq.contiguous(), gradients.dk.contiguous(), gradients.dv.contiguous()};
  });
}

Backward backward_shapes(const at::Tensor& d_out, const at::Tensor& q, const at::Tensor&, const at::Tensor&,
                         const at::Tensor&, const at::Tensor&, const OptionalTensor&, string_view, string_view,
                         string_view, at::IntArrayRef numbers, double) {
  AttentionOptions options;
  options.set_numbers(numbers);
  const auto like = [&](const c10::SymInt& heads, const c10::SymInt& size) {
    return at::empty_symint({d_out.sym_size(0), d_out.sym_size(1), heads, size}, d_out.options());
  };
  return {like(d_out.sym_size(2), q.sym_size(3)), like(options.groups, q.sym_size(3)),
          like(options.groups, d_out.sym_size(3))};
}

Forward call_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OptionalTensor& cu_seqlens,
                     string_view group_name, string_view cp_comm_type, string_view layout, at::IntArrayRef numbers,
                     double scale) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("ringtron::_cp_attention", "").typed<decltype(forward)>();
  return op.call(q, k, v, cu_seqlens, group_name, cp_comm_type, layout, numbers, scale);
}

class Differentiable : public torch::autograd::Function<Differentiable> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const OptionalTensor& cu_seqlens, const std::string& group_name,
                               const std::string& cp_comm_type, const std::string& layout,
                               const std::vector<std::int64_t>& numbers, double scale) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [out, lse, saved_q, saved_k, saved_v, saved_out] =
        call_forward(q, k, v, cu_seqlens, group_name, cp_comm_type, layout, numbers, scale);
    const auto kept = [](const at::Tensor& saved, const at::Tensor& own) { return saved.dim() == 4 ? saved : own; };
    context->save_for_backward({kept(saved_q, q), kept(saved_k, k), kept(saved_v, v), kept(saved_out, out), lse,
                                cu_seqlens ? *cu_seqlens : at::Tensor()});
    context->mark_non_differentiable({lse, saved_q, saved_k, saved_v, saved_out});
    context->saved_data["group_name"] = group_name;
    context->saved_data["cp_comm_type"] = cp_comm_type;
    context->saved_data["layout"] = layout;
    context->saved_data["numbers"] = numbers;
    context->saved_data["scale"] = scale;
    return {out, lse, saved_q, saved_k, saved_v, saved_out};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("ringtron::_cp_attention_backward", "")
                               .typed<decltype(ops::backward)>();
    const variable_list saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const OptionalTensor cu_seqlens = saved[5].defined() ? OptionalTensor(saved[5]) : std::nullopt;
    const auto [dq, dk, dv] =
        op.call(grads[0], saved[0], saved[1], saved[2], saved[3], saved[4], cu_seqlens,
                data["group_name"].toStringRef(), data["cp_comm_type"].toStringRef(), data["layout"].toStringRef(),
                data["numbers"].toIntVector(), data["scale"].toDouble());
    variable_list all(9);
    all[0] = dq;
    all[1] = dk;
    all[2] = dv;
    return all;
  }
};

Forward with_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OptionalTensor& cu_seqlens,
                      string_view group_name, string_view cp_comm_type, string_view layout, at::IntArrayRef numbers,
                      double scale) {
  const variable_list all = Differentiable::apply(q, k, v, cu_seqlens, std::string(group_name),
                                                  std::string(cp_comm_type), std::string(layout), numbers.vec(), scale);
  return {all[0], all[1], all[2], all[3], all[4], all[5]};
}

TORCH_LIBRARY_FRAGMENT(ringtron, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def(
      "_cp_attention(Tensor q, Tensor k, Tensor v, Tensor? cu_seqlens, str group_name, str cp_comm_type, str layout, "
      "int[] numbers, float scale) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      tags);
  library.def(
      "_cp_attention_backward(Tensor d_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor? cu_seqlens, "
      "str group_name, str cp_comm_type, str layout, int[] numbers, float scale) -> (Tensor, Tensor, Tensor)",
      tags);
}

TORCH_LIBRARY_IMPL(ringtron, CPU, library) {
  library.impl("_cp_attention", TORCH_FN(forward));
  library.impl("_cp_attention_backward", TORCH_FN(backward));
}

TORCH_LIBRARY_IMPL(ringtron, CUDA, library) {
  library.impl("_cp_attention", TORCH_FN(forward));
  library.impl("_cp_attention_backward", TORCH_FN(backward));
}

TORCH_LIBRARY_IMPL(ringtron, Meta, library) {
  library.impl("_cp_attention", TORCH_FN(forward_shapes));
  library.impl("_cp_attention_backward", TORCH_FN(backward_shapes));
}

TORCH_LIBRARY_IMPL(ringtron, Autograd, library) {
  library.impl("_cp_attention", TORCH_FN(with_autograd));
  library.impl("_cp_attention_backward", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace

at::Tensor cp_attention_rows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const OptionalTensor& cu_seqlens, const AttentionOptions& options) {
  return std::get<0>(call_forward(q, k, v, cu_seqlens, options.group_name, options.cp_comm_type, options.layout,
                                  options.numbers(), options.scale));
}

}  // namespace ringtron::ops
