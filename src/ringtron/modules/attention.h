// Self-attention: qkv projection, q/k norm, rotary positions, attention over the whole sequence, output
// projection.
#pragma once

#include <optional>

#include "ringtron/modules/build_context.h"
#include "ringtron/modules/norm_layer.h"
#include "ringtron/modules/step_context.h"
#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {

class SelfAttention {
 public:
  // `parameters`: those within "decoder.layers.3.self_attention.".
  SelfAttention(const BuildContext& build, const AttentionOptions& options, const LayerSpec& layer,
                const NamedParameters& parameters);

  // x: [s, b, h] in the sequence region; the result too, without dropout and residual.
  at::Tensor forward(const LinearInput& x, const StepContext& step) const;

 private:
  AttentionCall call_for(const StepContext& step) const;
  // The attention itself, recomputed where the layer says that it alone is.
  at::Tensor core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionCall& call) const;

  Communicator& tensor_group_;
  CpAttention& attention_;
  AttentionOptions options_;
  LayerSpec layer_;
  std::int64_t groups_;     // key/value heads of this rank
  std::int64_t per_group_;  // query heads per key/value head
  Parameter *qkv_weight_, *qkv_bias_, *proj_weight_, *proj_bias_;
  Parameter* sink_;  // of a learnable softmax: [query heads of this rank]
  std::optional<NormLayer> q_norm_, k_norm_;
};

}  // namespace ringtron
