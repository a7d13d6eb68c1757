// Block attention by ATen's fused CPU kernel, which knows two shapes: all cells, and the causal square.
//
// A band without a left bound is cut into at most three of these; everything else the composed one does. The kernel's
// traps, and why they do not bite here: its causal mask is aligned to the top left and made for squares, which is all
// that it is given; no mask tensor is ever given; a row without any key would get log-sum-exp 0 instead of -inf, and
// rectangles have no such rows.
#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/kernels/softmax_merge/softmax_merge.h"

namespace ringtron {
namespace {

// [s, b, n, d] seen as [b, n, s, d], which is how the kernel wants it, and back. Views.
at::Tensor heads_first(const at::Tensor& x) { return x.permute({1, 2, 0, 3}); }
at::Tensor sequence_first(const at::Tensor& x) { return x.permute({2, 0, 1, 3}); }

at::Tensor rows_of(const at::Tensor& x, const PositionRange& range) { return x.narrow(0, range.begin, range.length()); }
at::Tensor statistic_of(const at::Tensor& x, const PositionRange& range) {
  return x.narrow(2, range.begin, range.length());
}

// A rectangle that the kernel can do: rows of q against rows of k.
struct Rectangle {
  PositionRange rows, keys;
  bool causal;  // then a square
};

// Row i sees keys 0 .. i + right. From the top: rows without keys; `square` rows that see some more keys each, after
// `shared` ones that they all see; rows that see everything.
std::vector<Rectangle> rectangles_of(std::int64_t s_q, std::int64_t s_kv, std::int64_t right) {
  if (right >= s_kv - 1) right = s_kv;
  const std::int64_t first = std::clamp<std::int64_t>(-right, 0, s_q), shared = std::max<std::int64_t>(right, 0);
  const std::int64_t square = std::min(s_q - first, s_kv - shared);
  const Rectangle rectangles[] = {
      {{first, first + square}, {0, shared}, false},
      {{first, first + square}, {shared, shared + square}, true},
      {{first + square, s_q}, {0, s_kv}, false},
  };
  std::vector<Rectangle> result;
  for (const Rectangle& rectangle : rectangles) {
    if (!rectangle.rows.empty() && !rectangle.keys.empty()) result.push_back(rectangle);
  }
  return result;
}

class FlashCpuBlockAttention final : public BlockAttention {
 public:
  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->forward(q, k, v, call);
    const std::vector<Rectangle> rectangles = rectangles_of(q.size(0), k.size(0), call.band.right);
    if (is_whole(rectangles, q)) return forward_rectangle(q, k, v, rectangles[0], call.scale);
    const at::TensorOptions options = q.options().dtype(accumulate_type(q.scalar_type()));
    BlockResult result;
    result.out = at::zeros(q.sizes(), options);
    result.lse = at::full({q.size(1), q.size(2), q.size(0)}, -std::numeric_limits<double>::infinity(), options);
    for (const Rectangle& rectangle : rectangles) {
      const BlockResult part = forward_rectangle(q, k, v, rectangle, call.scale);
      at::Tensor out = rows_of(result.out, rectangle.rows), lse = statistic_of(result.lse, rectangle.rows);
      softmax_merge(out, lse, part.out, part.lse);
    }
    return result;
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    if (!fused(q, k, v, call)) return composed_->backward(q, k, v, output, call);
    const at::ScalarType wide = accumulate_type(q.scalar_type());
    return wide_backward(q.to(wide), k.to(wide), v.to(wide),
                         {output.d_out.to(wide), output.out.to(wide), output.lse, {}}, call);
  }

 private:
  // In bf16 the kernel would add up dq, dk and dv in bf16, tile by tile, and take several times as long.
  static BlockGradient wide_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const OutputGradient& output, const BlockCall& call) {
    const std::vector<Rectangle> rectangles = rectangles_of(q.size(0), k.size(0), call.band.right);
    if (is_whole(rectangles, q) && rectangles[0].keys.length() == k.size(0)) {
      return backward_rectangle(q, k, v, output, rectangles[0], call.scale);
    }
    BlockGradient sum{at::zeros(q.sizes(), q.options()), at::zeros(k.sizes(), k.options()),
                      at::zeros(v.sizes(), v.options())};
    for (const Rectangle& rectangle : rectangles) {
      const BlockGradient part = backward_rectangle(q, k, v, output, rectangle, call.scale);
      rows_of(sum.dq, rectangle.rows).add_(part.dq);
      rows_of(sum.dk, rectangle.keys).add_(part.dk);
      rows_of(sum.dv, rectangle.keys).add_(part.dv);
    }
    return sum;
  }

  static bool fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) {
    return call.dropout == nullptr && call.band.left >= q.size(0) - 1 && v.sizes() == k.sizes() && q.numel() > 0 &&
           k.numel() > 0;
  }

  // One rectangle that gives every row its result.
  static bool is_whole(const std::vector<Rectangle>& rectangles, const at::Tensor& q) {
    return rectangles.size() == 1 && rectangles[0].rows.length() == q.size(0);
  }

  static BlockResult forward_rectangle(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                       const Rectangle& rectangle, double scale) {
    auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        heads_first(rows_of(q, rectangle.rows)), heads_first(rows_of(k, rectangle.keys)),
        heads_first(rows_of(v, rectangle.keys)), 0.0, rectangle.causal, std::nullopt, scale);
    return {sequence_first(out), lse};
  }

  static BlockGradient backward_rectangle(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                          const OutputGradient& output, const Rectangle& rectangle, double scale) {
    auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        heads_first(rows_of(output.d_out, rectangle.rows)), heads_first(rows_of(q, rectangle.rows)),
        heads_first(rows_of(k, rectangle.keys)), heads_first(rows_of(v, rectangle.keys)),
        heads_first(rows_of(output.out, rectangle.rows)), statistic_of(output.lse, rectangle.rows), 0.0,
        rectangle.causal, std::nullopt, scale);
    return {sequence_first(dq), sequence_first(dk), sequence_first(dv)};
  }

  std::unique_ptr<BlockAttention> composed_ = make_composed_block_attention();
};

}  // namespace

std::unique_ptr<BlockAttention> make_flash_cpu_block_attention() { return std::make_unique<FlashCpuBlockAttention>(); }

}  // namespace ringtron
