#include "ringtron/kernels/qkv/qkv.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/qkv/qkv_params.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;

struct Heads {
  std::int64_t groups, queries, size;
};

Heads heads_of(const at::Tensor& qkv, std::int64_t groups, std::int64_t queries) {
  return {groups, queries, qkv.size(-1) / (groups * (queries + 2))};
}

QkvParams params_of(const at::Tensor& like, std::int64_t s, std::int64_t b, const Heads& heads,
                    const OptionalTensor& cos, const OptionalTensor& sin, bool interleaved) {
  QkvParams params{};
  params.rows = s * b;
  params.batch = b;
  params.groups = static_cast<int>(heads.groups);
  params.queries = static_cast<int>(heads.queries);
  params.size = static_cast<int>(heads.size);
  params.type = *element_of(like);
  params.interleaved = interleaved;
  if (cos) {
    params.cos = cos->const_data_ptr<float>();
    params.sin = sin->const_data_ptr<float>();
    params.turned = static_cast<int>(cos->size(-1));
    params.table_of_samples = cos->size(1) != 1;
  }
  return params;
}

void set_norms(QkvParams& params, const OptionalTensor& q_weight, const OptionalTensor& k_weight, double epsilon,
               bool zero_centred) {
  if (!q_weight) return;
  params.q_weight = q_weight->const_data_ptr();
  params.k_weight = k_weight->const_data_ptr();
  params.epsilon = static_cast<float>(epsilon);
  params.zero_centred = zero_centred;
}

class FusedSplit : public Function<FusedSplit> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& input, std::int64_t groups,
                               std::int64_t queries, const OptionalTensor& cos, const OptionalTensor& sin,
                               bool interleaved, const OptionalTensor& q_weight, const OptionalTensor& k_weight,
                               double epsilon, bool zero_centred) {
    const at::Tensor qkv = input.contiguous();
    const std::int64_t s = qkv.size(0), b = qkv.size(1);
    const Heads heads = heads_of(qkv, groups, queries);
    at::Tensor q = at::empty({s, b, groups * queries, heads.size}, qkv.options());
    at::Tensor k = at::empty({s, b, groups, heads.size}, qkv.options()), v = at::empty_like(k);
    QkvParams params = params_of(qkv, s, b, heads, cos, sin, interleaved);
    params.qkv_in = qkv.const_data_ptr();
    params.q = q.mutable_data_ptr();
    params.k = k.mutable_data_ptr();
    params.v = v.mutable_data_ptr();
    set_norms(params, q_weight, k_weight, epsilon, zero_centred);
    split_qkv_cuda(params, current_cuda_stream());
    const at::Tensor none;
    context->save_for_backward({cos.value_or(none), sin.value_or(none), q_weight ? qkv : none, q_weight.value_or(none),
                                k_weight.value_or(none)});
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["zero_centred"] = zero_centred;
    context->saved_data["groups"] = groups;
    context->saved_data["queries"] = queries;
    context->saved_data["interleaved"] = interleaved;
    return {q, k, v};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor dq = grads[0].contiguous(), dk = grads[1].contiguous(), dv = grads[2].contiguous();
    const std::int64_t s = dq.size(0), b = dq.size(1);
    const Heads heads{context->saved_data["groups"].toInt(), context->saved_data["queries"].toInt(), dq.size(-1)};
    const at::Tensor dqkv = at::empty({s, b, heads.groups * (heads.queries + 2) * heads.size}, dq.options());
    const auto some = [](const at::Tensor& t) { return t.defined() ? OptionalTensor(t) : std::nullopt; };
    QkvParams params =
        params_of(dq, s, b, heads, some(saved[0]), some(saved[1]), context->saved_data["interleaved"].toBool());
    params.q_in = dq.const_data_ptr();
    params.k_in = dk.const_data_ptr();
    params.v_in = dv.const_data_ptr();
    params.qkv = dqkv.mutable_data_ptr();
    variable_list all(10);
    all[0] = dqkv;
    if (!saved[2].defined()) {
      join_qkv_cuda(params, current_cuda_stream());
      return all;
    }
    params.qkv_in = saved[2].const_data_ptr();
    set_norms(params, some(saved[3]), some(saved[4]), context->saved_data["epsilon"].toDouble(),
              context->saved_data["zero_centred"].toBool());
    params.parts = static_cast<int>(std::min<std::int64_t>(params.rows, 4 * multiprocessors(dqkv)));
    const at::Tensor parts = at::empty({2, params.parts, heads.size}, dqkv.options().dtype(at::kFloat));
    params.q_weight_parts = parts.mutable_data_ptr<float>();
    params.k_weight_parts = params.q_weight_parts + static_cast<std::int64_t>(params.parts) * heads.size;
    join_qkv_cuda(params, current_cuda_stream());
    const at::Tensor sums = parts.sum(1).to(dqkv.scalar_type());
    all[6] = sums[0];
    all[7] = sums[1];
    return all;
  }
};

bool fused(const at::Tensor& qkv, const Heads& heads, const RotaryTable& table) {
  if (qkv.numel() == 0 || heads.size % 16 != 0 || heads.size > 2048 || !fused_on_gpu({qkv})) return false;
  return !table.cos.defined() || (table.cos.scalar_type() == at::kFloat && table.cos.size(-1) % 16 == 0);
}

bool fused_norms(const at::Tensor& qkv, const Heads& heads, const QkNorms& norms) {
  const bool alike = norms.q.epsilon == norms.k.epsilon && norms.q.zero_centred == norms.k.zero_centred;
  return norms.q.rms && norms.k.rms && alike && heads.size <= 512 &&
         std::has_single_bit(static_cast<std::uint64_t>(heads.size)) &&
         fused_on_gpu({qkv, norms.q.weight, norms.k.weight});
}

QkvHeads by_kernel(const at::Tensor& qkv, const Heads& sizes, const RotaryTable& table, bool interleaved,
                   const QkNorms* norms) {
  const auto some = [](const at::Tensor& t) { return t.defined() ? OptionalTensor(t.contiguous()) : std::nullopt; };
  const NormWeights none, &q = norms != nullptr ? norms->q : none, &k = norms != nullptr ? norms->k : none;
  variable_list out = FusedSplit::apply(qkv, sizes.groups, sizes.queries, some(table.cos), some(table.sin), interleaved,
                                        some(q.weight), some(k.weight), q.epsilon, q.zero_centred);
  return {std::move(out[0]), std::move(out[1]), std::move(out[2])};
}

}  // namespace

QkvHeads split_qkv(const at::Tensor& qkv, std::int64_t groups, std::int64_t queries, const RotaryTable& table,
                   bool interleaved, const QkNorms* norms) {
  RT_CHECK(qkv.dim() == 3 && qkv.size(-1) % (groups * (queries + 2)) == 0,
           "split_qkv: expected [s, b, {} groups of {} query heads, a key and a value], got {} channels", groups,
           queries, qkv.size(-1));
  const Heads sizes = heads_of(qkv, groups, queries);
  const bool split_is_fused = fused(qkv, sizes, table);
  if (split_is_fused && (norms == nullptr || fused_norms(qkv, sizes, *norms))) {
    return by_kernel(qkv, sizes, table, interleaved, norms);
  }
  QkvHeads out;
  if (split_is_fused) {
    out = by_kernel(qkv, sizes, {}, interleaved, nullptr);
  } else {
    const std::int64_t s = qkv.size(0), b = qkv.size(1);
    const at::Tensor heads = qkv.view({s, b, groups, queries + 2, sizes.size});
    out = {heads.narrow(3, 0, queries).reshape({s, b, groups * queries, sizes.size}),
           heads.select(3, queries).contiguous(), heads.select(3, queries + 1).contiguous()};
  }
  if (norms != nullptr) {
    out.q = residual_norm(out.q, {}, norms->q).normed;
    out.k = residual_norm(out.k, {}, norms->k).normed;
  }
  if (table.cos.defined()) {
    out.q = apply_rotary(out.q, table, interleaved);
    out.k = apply_rotary(out.k, table, interleaved);
  }
  return out;
}

}  // namespace ringtron
