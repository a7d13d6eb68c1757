// Block attention by cuDNN's fused GPU kernels, in bf16 or fp16: all cells or a causal square. Other bands (windows),
// and what cuDNN refuses, FlashAttention does, or, where every bit must be the same each time, our own kernels.
#include <ATen/ATen.h>

#include <mutex>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/kernels/attention/cudnn_attention.h"

namespace ringtron {
namespace {

class CudnnBlockAttention final : public BlockAttention {
 public:
  explicit CudnnBlockAttention(bool deterministic)
      : deterministic_(deterministic),
        other_(deterministic ? make_fused_cuda_block_attention() : make_flash_cuda_block_attention()),
        varlen_(make_cudnn_varlen_attention(deterministic)) {}

  const VarlenAttention* varlen() const override { return varlen_.get(); }

  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return other_->forward(q, k, v, call);
    const std::lock_guard lock(mutex_);
    CudnnAttentionResult result = cudnn_.forward(q, k, v, options_of(call));
    return {std::move(result.out), std::move(result.lse)};
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return other_->backward(q, k, v, output, call);
    // cuDNN computes delta itself, from d_out and out in the type of q.
    const CudnnAttentionOutput merged{output.d_out.to(q.scalar_type()), output.out.to(q.scalar_type()), output.lse};
    const std::lock_guard lock(mutex_);
    CudnnAttentionGradient gradient = cudnn_.backward(q, k, v, merged, options_of(call));
    return {std::move(gradient.dq), std::move(gradient.dk), std::move(gradient.dv)};
  }

  bool wants_delta() const override { return false; }

 private:
  static bool fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) {
    if (call.dropout || call.varied_shapes || !(call.band.is_all() || call.band.is_causal())) return false;
    return cudnn_attention_supports(q, k, v, call.band.is_causal());
  }

  CudnnAttentionOptions options_of(const BlockCall& call) const {
    return {.scale = call.scale, .causal = call.band.is_causal(), .deterministic = deterministic_};
  }

  bool deterministic_;
  std::unique_ptr<BlockAttention> other_;  // for what cuDNN does not do
  std::unique_ptr<VarlenAttention> varlen_;
  // The backward runs on autograd's thread. The plans that cudnn_ keeps change its speed, not its results.
  mutable std::mutex mutex_;
  mutable CudnnAttention cudnn_;
};

}  // namespace

std::unique_ptr<BlockAttention> make_cudnn_block_attention(bool deterministic) {
  return std::make_unique<CudnnBlockAttention>(deterministic);
}

}  // namespace ringtron
