// Self-attention: qkv projection, q/k norm, rotary positions, attention over the whole sequence, output projection.
#pragma once

#include <optional>
#include <string>

#include "ringtron/modules/norm_layer.h"
#include "ringtron/modules/step_context.h"

namespace ringtron {

class SelfAttention {
 public:
  // `prefix`: "decoder.layers.3.self_attention.". `layer` counts from 0 over the whole model.
  SelfAttention(const BuildContext& build, const std::string& prefix, int layer);

  // x: [s, b, h] in the sequence region; the result too, without dropout and residual.
  at::Tensor forward(const at::Tensor& x, const StepContext& step) const;

 private:
  AttentionCall call_for(const StepContext& step) const;
  // The attention itself, recomputed where --recompute-granularity selective says so.
  at::Tensor core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionCall& call) const;

  const BuildContext build_;
  int layer_;
  int groups_;       // key/value heads of this rank
  int per_group_;    // query heads per key/value head
  int head_dim_;
  CpTransport transport_;
  Parameter *qkv_weight_, *qkv_bias_ = nullptr, *proj_weight_, *proj_bias_ = nullptr;
  Parameter* sink_ = nullptr;  // --softmax-type learnable: [query heads of this rank]
  std::optional<NormLayer> q_norm_, k_norm_;
};

}  // namespace ringtron
