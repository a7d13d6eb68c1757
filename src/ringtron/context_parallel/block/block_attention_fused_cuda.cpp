// Block attention by our own fused kernels on the GPU, in bf16 or fp16: dropout by position, any band, the same bits
// each time. What they cannot do (head sizes above 128 or no multiple of 8) the composed one does.
#include <ATen/ATen.h>

#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/kernels/fused_attention/fused_attention.h"

namespace ringtron {
namespace {

// Refers to `call`.
class FusedArguments {
 public:
  FusedArguments(const at::Tensor& q, const BlockCall& call) {
    options_ = {call.scale, call.band.left, call.band.right, nullptr};
    if (call.dropout == nullptr) return;
    dropout_ = fused_dropout(*call.dropout, q.size(2), call.q_positions, call.kv_positions, q.device());
    options_.dropout = &*dropout_;
  }
  FusedArguments(const FusedArguments&) = delete;
  FusedArguments& operator=(const FusedArguments&) = delete;

  const FusedAttentionOptions& options() const { return options_; }

 private:
  std::optional<FusedDropout> dropout_;
  FusedAttentionOptions options_;
};

class FusedCudaBlockAttention final : public BlockAttention {
 public:
  FusedCudaBlockAttention() : composed_(make_composed_block_attention()) {}

  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->forward(q, k, v, call);
    const FusedArguments here(q, call);
    FusedAttentionResult result = fused_attention(q, k, v, here.options());
    return {std::move(result.out), std::move(result.lse)};
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->backward(q, k, v, output, call);
    const FusedArguments here(q, call);
    const at::Tensor delta = output.delta.defined() ? output.delta : row_sums(output.d_out, output.out);
    FusedAttentionGradient gradient =
        fused_attention_backward(q, k, v, output.d_out.to(q.scalar_type()), output.lse, delta, here.options());
    return {std::move(gradient.dq), std::move(gradient.dk), std::move(gradient.dv)};
  }

 private:
  static bool fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) {
    return call.scale > 0.0 && fused_attention_supports(q, k, v);
  }

  std::unique_ptr<BlockAttention> composed_;
};

}  // namespace

std::unique_ptr<BlockAttention> make_fused_cuda_block_attention() {
  return std::make_unique<FusedCudaBlockAttention>();
}

}  // namespace ringtron
