#include "ringtron/modules/attention.h"

#include <ATen/ATen.h>

#include <cmath>

#include "ringtron/modules/attention_config.h"
#include "ringtron/modules/recompute.h"
#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {

SelfAttention::SelfAttention(const BuildContext& build, const std::string& prefix, int layer)
    : build_(build),
      layer_(layer),
      transport_(build.transports.empty() ? CpTransport::p2p : build.transports[static_cast<std::size_t>(layer)]) {
  const ModelConfig& m = build.config.model;
  const int tp = build.tensor_group().size();
  groups_ = m.num_query_groups / tp;
  per_group_ = m.num_attention_heads / m.num_query_groups;
  head_dim_ = m.kv_channels;
  const std::int64_t h = m.hidden_size, q = static_cast<std::int64_t>(m.num_attention_heads) * head_dim_;
  const std::int64_t rows = static_cast<std::int64_t>(m.num_query_groups) * (per_group_ + 2) * head_dim_;
  const double std = build.config.precision.init_method_std;
  qkv_weight_ = &build.store.add(prefix + "linear_qkv.weight", ShardSpec{{rows, h}, 0}, build.weight_initial(std));
  if (m.add_qkv_bias) {
    qkv_bias_ = &build.store.add(prefix + "linear_qkv.bias", ShardSpec{{rows}, 0}, Initial::constant(0.0));
  }
  if (m.qk_layernorm) {
    // Heads are divided over the group, so each rank's gradient covers its own heads only.
    q_norm_.emplace(build, NormLayer::Names{prefix + "q_layernorm.weight", prefix + "q_layernorm.bias"}, head_dim_, true);
    k_norm_.emplace(build, NormLayer::Names{prefix + "k_layernorm.weight", prefix + "k_layernorm.bias"}, head_dim_, true);
  }
  if (m.softmax_type == SoftmaxKind::learnable) {
    sink_ = &build.store.add(prefix + "core_attention.softmax_offset", ShardSpec{{m.num_attention_heads}, 0},
                             Initial::constant(0.0));
  }
  const double out_std = std / std::sqrt(2.0 * m.num_layers);
  proj_weight_ = &build.store.add(prefix + "linear_proj.weight", ShardSpec{{h, q}, 1}, build.weight_initial(out_std));
  if (m.add_bias_linear) {
    proj_bias_ = &build.store.add(prefix + "linear_proj.bias", ShardSpec{{h}}, Initial::constant(0.0));
    if (build.sequence_parallel()) proj_bias_->gradient_axes = proj_bias_->gradient_axes | Axis::tensor;
  }
}

AttentionCall SelfAttention::call_for(const StepContext& step) const {
  AttentionCall call;
  call.scale = 1.0 / std::sqrt(static_cast<double>(head_dim_));
  call.window = attention_window(build_.config.model);
  call.transport = transport_;
  call.softmax = build_.config.model.softmax_type;
  if (sink_ != nullptr) call.sink = sink_->value;
  call.shape = step.shape;
  call.layer = layer_;
  if (!step.saved_kv.empty()) call.saved_kv = step.saved_kv.at(static_cast<std::size_t>(layer_));
  const double p = build_.config.precision.attention_dropout;
  if (step.training && p > 0.0) {
    AttentionDropout drop;
    drop.p = p;
    drop.key = step.key(layer_, DropoutPlace::attention);
    drop.sample_numbers = step.sample_numbers;
    drop.head_offset = static_cast<std::int64_t>(build_.tensor_group().rank()) * groups_ * per_group_;
    call.dropout = std::move(drop);
  }
  return call;
}

at::Tensor SelfAttention::core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionCall& call) const {
  if (build_.config.recompute.granularity != RecomputeGranularity::selective) return build_.attention.forward(q, k, v, call);
  return recomputed([&attention = build_.attention, call](
                        std::span<const at::Tensor> qkv) { return attention.forward(qkv[0], qkv[1], qkv[2], call); },
                    {q.contiguous(), k, v});  // a view would keep all of qkv
}

at::Tensor SelfAttention::forward(const at::Tensor& x, const StepContext& step) const {
  const at::Tensor none;
  const bool sp = build_.sequence_parallel();
  const at::Tensor qkv = column_parallel_linear(x, qkv_weight_->value, qkv_bias_ ? qkv_bias_->value : none,
                                                build_.tensor_group(), sp);
  const std::int64_t s = qkv.size(0), b = qkv.size(1);
  const at::Tensor heads = qkv.view({s, b, groups_, per_group_ + 2, head_dim_});
  at::Tensor q = heads.narrow(3, 0, per_group_).reshape({s, b, groups_ * per_group_, head_dim_});
  at::Tensor k = heads.select(3, per_group_).contiguous();
  const at::Tensor v = heads.select(3, per_group_ + 1).contiguous();
  if (q_norm_) {
    q = q_norm_->forward(q);
    k = k_norm_->forward(k);
  }
  if (step.rotary.cos.defined()) {
    const bool interleaved = build_.config.model.rotary_interleaved;
    q = apply_rotary(q, step.rotary, interleaved);
    k = apply_rotary(k, step.rotary, interleaved);
  }
  const at::Tensor out = core(q, k, v, call_for(step));
  return row_parallel_linear(out.reshape({s, b, groups_ * per_group_ * head_dim_}), proj_weight_->value,
                             proj_bias_ ? proj_bias_->value : none, build_.tensor_group(), sp);
}

}  // namespace ringtron
