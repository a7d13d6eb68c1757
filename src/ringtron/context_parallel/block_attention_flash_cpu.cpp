// Block attention by ATen's fused CPU kernel.
//
// Its traps, and why they do not bite here: a causal mask is aligned to the top left, which for our square blocks is the
// right one; no mask tensor is ever given; a row without any key would get log-sum-exp 0 instead of -inf, so blocks
// without keys are refused (no plan has them) and no other block has such rows.
#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block_attention.h"

namespace ringtron {
namespace {

// [s, b, n, d] seen as [b, n, s, d], which is how the kernel wants it, and back. Views.
at::Tensor heads_first(const at::Tensor& x) { return x.permute({1, 2, 0, 3}); }
at::Tensor sequence_first(const at::Tensor& x) { return x.permute({2, 0, 1, 3}); }

void check_call(const at::Tensor& q, const at::Tensor& k, const BlockCall& call) {
  RT_CHECK(call.dropout == nullptr, "the fused CPU kernel has no layout-free dropout; use the composed one");
  RT_CHECK(k.size(0) > 0, "a block without keys");
  if (call.causal) RT_CHECK_EQ(q.size(0), k.size(0), "rows of q and k of a causal block");
}

class FlashCpuBlockAttention final : public BlockAttention {
 public:
  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& call) const override {
    check_call(q, k, call);
    auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        heads_first(q), heads_first(k), heads_first(v), 0.0, call.causal, std::nullopt, call.scale);
    return {sequence_first(out), lse};
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const OutputGradient& output, const BlockCall& call) const override {
    check_call(q, k, call);
    auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        heads_first(output.d_out), heads_first(q), heads_first(k), heads_first(v), heads_first(output.out),
        output.lse, 0.0, call.causal, std::nullopt, call.scale);
    return {sequence_first(dq), sequence_first(dk), sequence_first(dv)};
  }
};

}  // namespace

std::unique_ptr<BlockAttention> make_flash_cpu_block_attention() { return std::make_unique<FlashCpuBlockAttention>(); }

}  // namespace ringtron
