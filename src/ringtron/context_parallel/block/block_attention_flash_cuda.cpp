// Block attention by ATen's FlashAttention-2 for GPUs, in bf16 or fp16: any band, in particular windows, at about half
// of cuDNN's speed. What it cannot do (dropout, odd head sizes, values of another size), the composed one does.
#include <ATen/ATen.h>

#include <limits>
#include <optional>

#include "ringtron/context_parallel/block/block_attention.h"

namespace ringtron {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// FlashAttention counts from the bottom right corner: row i sees rows i + shift - left .. i + shift + right, with
// shift = s_kv - s_q; -1: no limit.
struct FlashWindow {
  std::int64_t left, right;
};

std::optional<FlashWindow> window_of(const Band& band, std::int64_t s_q, std::int64_t s_kv) {
  const std::int64_t shift = s_kv - s_q;
  const FlashWindow window{band.left == Band::kUnbounded ? -1 : band.left + shift,
                           band.right == Band::kUnbounded ? -1 : band.right - shift};
  // A limit that begins outside the block would leave rows without keys.
  if ((band.left != Band::kUnbounded && window.left < 0) || (band.right != Band::kUnbounded && window.right < 0)) {
    return std::nullopt;
  }
  return window;
}

// [s, b, n, d] <-> [b, s, n, d], a view.
at::Tensor samples_first(const at::Tensor& x) { return x.transpose(0, 1); }

class FlashCudaBlockAttention final : public BlockAttention {
 public:
  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->forward(q, k, v, call);
    const FlashWindow window = *window_of(call.band, q.size(0), k.size(0));
    auto [out, lse, rng, unused, debug] =
        at::_flash_attention_forward(samples_first(q), samples_first(k), samples_first(v), {}, {}, q.size(0), k.size(0),
                                     0.0, false, false, call.scale, window.left, window.right);
    // It gives +inf where a row sees no key.
    return {samples_first(out), lse.masked_fill(lse.isposinf(), -kInfinity)};
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->backward(q, k, v, output, call);
    const FlashWindow window = *window_of(call.band, q.size(0), k.size(0));
    const at::ScalarType type = q.scalar_type();
    const at::Tensor none = at::empty({0}, q.options().dtype(at::kUInt64)), no_lengths;
    const at::Tensor lse = output.lse.masked_fill(output.lse.isneginf(), kInfinity).contiguous();
    auto [dq, dk, dv] = at::_flash_attention_backward(
        samples_first(output.d_out).to(type), samples_first(q), samples_first(k), samples_first(v),
        samples_first(output.out).to(type), lse, no_lengths, no_lengths, q.size(0), k.size(0), 0.0, false, none, none,
        call.scale, window.left, window.right);
    return {samples_first(dq), samples_first(dk), samples_first(dv)};
  }

  bool wants_delta() const override { return false; }

 private:
  static bool fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) {
    constexpr std::int64_t kLargestHead = 256, kHeadMultiple = 8;
    if (call.dropout || q.numel() == 0 || k.numel() == 0) return false;
    if (q.scalar_type() != at::kBFloat16 && q.scalar_type() != at::kHalf) return false;
    if (v.size(3) != q.size(3) || q.size(3) > kLargestHead || q.size(3) % kHeadMultiple != 0) return false;
    return window_of(call.band, q.size(0), k.size(0)).has_value();
  }

  std::unique_ptr<BlockAttention> composed_ = make_composed_block_attention();
};

}  // namespace

std::unique_ptr<BlockAttention> make_flash_cuda_block_attention() {
  return std::make_unique<FlashCudaBlockAttention>();
}

}  // namespace ringtron
