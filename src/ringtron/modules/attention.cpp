#include "ringtron/modules/attention.h"

#include <ATen/ATen.h>

#include <cmath>

#include "ringtron/kernels/qkv/qkv.h"
#include "ringtron/modules/recompute.h"

namespace ringtron {

SelfAttention::SelfAttention(const BuildContext& build, const AttentionOptions& options, const LayerSpec& layer,
                             const NamedParameters& parameters)
    : tensor_group_(build.tensor_group()),
      attention_(build.attention),
      options_(options),
      layer_(layer),
      groups_(options.groups / tensor_group_.size()),
      per_group_(options.heads / options.groups),
      qkv_weight_(&parameters.at("linear_qkv.weight")),
      qkv_bias_(parameters.find("linear_qkv.bias")),
      proj_weight_(&parameters.at("linear_proj.weight")),
      proj_bias_(parameters.find("linear_proj.bias")),
      sink_(parameters.find("core_attention.softmax_offset")) {
  if (!options.qk_norm) return;
  q_norm_.emplace(*options.qk_norm, parameters, NormLayer::Names{"q_layernorm.weight", "q_layernorm.bias"});
  k_norm_.emplace(*options.qk_norm, parameters, NormLayer::Names{"k_layernorm.weight", "k_layernorm.bias"});
}

AttentionCall SelfAttention::call_for(const StepContext& step) const {
  AttentionCall call;
  call.scale = 1.0 / std::sqrt(static_cast<double>(options_.head_size));
  call.window = layer_.window;
  call.transport = layer_.transport;
  call.softmax = options_.softmax;
  if (sink_ != nullptr) call.sink = sink_->value;
  call.shape = step.shape;
  call.layer = layer_.number;
  if (const auto saved = step.saved_kv.find(layer_.number); saved != step.saved_kv.end()) call.saved_kv = saved->second;
  if (step.training && options_.dropout > 0.0) {
    AttentionDropout drop;
    drop.p = options_.dropout;
    drop.key = step.key(static_cast<std::uint64_t>(layer_.number), DropoutPlace::attention);
    drop.sample_numbers = step.sample_numbers;
    drop.head_offset = tensor_group_.rank() * groups_ * per_group_;
    call.dropout = std::move(drop);
  }
  return call;
}

at::Tensor SelfAttention::core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionCall& call) const {
  if (layer_.recompute != LayerRecompute::core_attention) return attention_.forward(q, k, v, call);
  return recomputed([&attention = attention_,
                     call](std::span<const at::Tensor> qkv) { return attention.forward(qkv[0], qkv[1], qkv[2], call); },
                    {q.contiguous(), k, v});  // a view would keep all of qkv
}

at::Tensor SelfAttention::forward(const LinearInput& x, const StepContext& step) const {
  const at::Tensor none;
  const bool sp = options_.sequence_parallel;
  const at::Tensor qkv = column_parallel_linear(x, LinearWeight(*qkv_weight_, step.later),
                                                qkv_bias_ ? qkv_bias_->value : none, tensor_group_, sp);
  const std::int64_t s = qkv.size(0), b = qkv.size(1);
  std::optional<QkNorms> norms;
  if (q_norm_) norms = {q_norm_->weights(), k_norm_->weights()};
  const QkvHeads heads =
      split_qkv(qkv, groups_, per_group_, step.rotary, options_.rotary_interleaved, norms ? &*norms : nullptr);
  const at::Tensor out = core(heads.q, heads.k, heads.v, call_for(step));
  return row_parallel_linear(out.reshape({s, b, groups_ * per_group_ * options_.head_size}),
                             LinearWeight(*proj_weight_, step.later), proj_bias_ ? proj_bias_->value : none,
                             tensor_group_, sp);
}

}  // namespace ringtron
