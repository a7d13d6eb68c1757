// Block attention by our own fused kernels on the GPU, in bf16 or fp16: dropout by position, any band, the same bits
// each time. What they cannot do (head sizes above 128 or no multiple of 8) the composed one does.
#include <ATen/ATen.h>

#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/kernels/fused_attention/fused_attention.h"

namespace ringtron {
namespace {

// Refers to `dropout`, which it fills where the call has some.
FusedAttentionOptions options_of(const at::Tensor& q, const BlockCall& call, std::optional<FusedDropout>& dropout) {
  if (call.dropout != nullptr) {
    dropout = fused_dropout(*call.dropout, q.size(2), call.q_positions, call.kv_positions, q.device());
  }
  return {call.scale, call.band.left, call.band.right, dropout ? &*dropout : nullptr};
}

class FusedCudaBlockAttention final : public BlockAttention {
 public:
  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->forward(q, k, v, call);
    std::optional<FusedDropout> dropout;
    FusedAttentionResult result = fused_attention(q, k, v, options_of(q, call, dropout));
    return {std::move(result.out), std::move(result.lse)};
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->backward(q, k, v, output, call);
    std::optional<FusedDropout> dropout;
    const at::Tensor delta = output.delta.defined() ? output.delta : row_sums(output.d_out, output.out);
    FusedAttentionGradient gradient = fused_attention_backward(q, k, v, output.d_out.to(q.scalar_type()), output.lse,
                                                               delta, options_of(q, call, dropout));
    return {std::move(gradient.dq), std::move(gradient.dk), std::move(gradient.dv)};
  }

 private:
  static bool fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) {
    return call.scale > 0.0 && fused_attention_supports(q, k, v);
  }

  std::unique_ptr<BlockAttention> composed_ = make_composed_block_attention();
};

}  // namespace

std::unique_ptr<BlockAttention> make_fused_cuda_block_attention() {
  return std::make_unique<FusedCudaBlockAttention>();
}

}  // namespace ringtron
