// Block attention from matrix products and elementwise operations, tile by tile of query rows.
#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block_attention.h"

namespace ringtron {
namespace {

struct Sizes {
  std::int64_t s_q, s_kv, b, n, g, d;
};

Sizes sizes_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) {
  const Sizes z{q.size(0), k.size(0), q.size(1), q.size(2), k.size(2), q.size(3)};
  RT_CHECK(k.sizes() == v.sizes(), "k and v have different shapes");
  RT_CHECK(k.size(1) == z.b && k.size(3) == z.d && z.g > 0 && z.n % z.g == 0,
           "q [{}, {}, {}, {}] against k [{}, {}, {}, {}]", z.s_q, z.b, z.n, z.d, z.s_kv, k.size(1), z.g,
           k.size(3));
  if (call.causal) RT_CHECK_EQ(z.s_q, z.s_kv, "rows of q and k of a causal block");
  if (call.dropout) {
    RT_CHECK_EQ(static_cast<std::int64_t>(call.dropout->sample_numbers.size()), z.b,
                "sample numbers for dropout");
  }
  return z;
}

// [s, b, g*r, d] -> [b*g, r*s, d]: one matrix per key/value head, the r query heads that share it stacked.
at::Tensor to_matrices(const at::Tensor& x, std::int64_t g, at::ScalarType type) {
  const std::int64_t s = x.size(0), b = x.size(1), r = x.size(2) / g, d = x.size(3);
  return x.to(type).reshape({s, b, g, r, d}).permute({1, 2, 3, 0, 4}).reshape({b * g, r * s, d});
}

// The inverse.
at::Tensor from_matrices(const at::Tensor& x, std::int64_t b, std::int64_t s) {
  const std::int64_t g = x.size(0) / b, r = s == 0 ? 1 : x.size(1) / s, d = x.size(2);
  return x.view({b, g, r, s, d}).permute({3, 0, 1, 2, 4}).reshape({s, b, g * r, d});
}

// Rows [begin, begin + rows) of the queries against the first `keys` keys; later keys are masked for all of
// them.
struct Tile {
  std::int64_t begin, rows, keys;
};

std::vector<Tile> tiles_of(const Sizes& z, bool causal, at::ScalarType type, std::int64_t tile_bytes) {
  const std::int64_t row_bytes = std::max<std::int64_t>(1, z.b * z.n * z.s_kv * at::elementSize(type));
  const std::int64_t rows =
      std::clamp<std::int64_t>(tile_bytes / row_bytes, 1, std::max<std::int64_t>(z.s_q, 1));
  std::vector<Tile> tiles;
  for (std::int64_t begin = 0; begin < z.s_q; begin += rows) {
    const std::int64_t count = std::min(rows, z.s_q - begin);
    tiles.push_back({begin, count, causal ? begin + count : z.s_kv});
  }
  return tiles;
}

// Masked, scaled scores [b, n, rows, keys].
at::Tensor scores_of(const at::Tensor& q_matrices, const at::Tensor& k_matrices, const Tile& tile,
                     const Sizes& z, const BlockCall& call) {
  at::Tensor scores =
      at::bmm(q_matrices, k_matrices.narrow(1, 0, tile.keys).transpose(1, 2)).mul_(call.scale);
  scores = scores.view({z.b, z.n, tile.rows, tile.keys});
  if (call.causal) {
    const at::TensorOptions index = scores.options().dtype(at::kLong);
    const at::Tensor row = at::arange(tile.begin, tile.begin + tile.rows, index).unsqueeze(1);
    scores.masked_fill_(at::arange(tile.keys, index).gt(row), -std::numeric_limits<double>::infinity());
  }
  return scores;
}

// exp(scores - lse) in place; a row that sees no key (lse -inf) gives zeros instead of NaN.
at::Tensor probabilities(at::Tensor scores, const at::Tensor& lse) {
  const at::Tensor finite = lse.masked_fill(lse.isneginf(), 0.0);
  return scores.sub_(finite.unsqueeze(-1)).exp_();
}

at::Tensor dropout_factors(const Tile& tile, const Sizes& z, const BlockCall& call, const at::Tensor& like) {
  const auto queries = slice_ranges(call.q_positions, tile.begin, tile.rows);
  const auto keys = slice_ranges(call.kv_positions, 0, tile.keys);
  return attention_dropout_factors(*call.dropout, z.n, queries, keys, like.options());
}

class ComposedBlockAttention final : public BlockAttention {
 public:
  explicit ComposedBlockAttention(std::int64_t tile_bytes) : tile_bytes_(tile_bytes) {}

  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& call) const override {
    const Sizes z = sizes_of(q, k, v, call);
    const at::ScalarType type = accumulate_type(q.scalar_type());
    BlockResult result;
    result.out = at::zeros(q.sizes(), q.options().dtype(type));
    result.lse = at::full({z.b, z.n, z.s_q}, -std::numeric_limits<double>::infinity(), result.out.options());
    if (z.s_kv == 0) return result;
    const at::Tensor km = to_matrices(k, z.g, type), vm = to_matrices(v, z.g, type);
    for (const Tile& tile : tiles_of(z, call.causal, type, tile_bytes_)) {
      const at::Tensor qm = to_matrices(q.narrow(0, tile.begin, tile.rows), z.g, type);
      at::Tensor p = scores_of(qm, km, tile, z, call);
      const at::Tensor lse = at::logsumexp(p, -1);
      p = probabilities(p, lse);
      if (call.dropout) p.mul_(dropout_factors(tile, z, call, p));
      const at::Tensor out = at::bmm(p.view({z.b * z.g, -1, tile.keys}), vm.narrow(1, 0, tile.keys));
      result.out.narrow(0, tile.begin, tile.rows).copy_(from_matrices(out, z.b, tile.rows));
      result.lse.narrow(2, tile.begin, tile.rows).copy_(lse);
    }
    return result;
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const OutputGradient& output, const BlockCall& call) const override {
    const Sizes z = sizes_of(q, k, v, call);
    const at::ScalarType type = accumulate_type(q.scalar_type());
    BlockGradient gradient;
    gradient.dq = at::zeros(q.sizes(), q.options().dtype(type));
    const at::Tensor km = to_matrices(k, z.g, type), vm = to_matrices(v, z.g, type);
    at::Tensor dkm = at::zeros_like(km), dvm = at::zeros_like(vm);
    for (const Tile& tile : tiles_of(z, call.causal, type, tile_bytes_)) {
      if (tile.keys == 0) continue;
      const at::Tensor qm = to_matrices(q.narrow(0, tile.begin, tile.rows), z.g, type);
      const at::Tensor gm = to_matrices(output.d_out.narrow(0, tile.begin, tile.rows), z.g, type);
      const at::Tensor lse = output.lse.narrow(2, tile.begin, tile.rows);
      const at::Tensor p = probabilities(scores_of(qm, km, tile, z, call), lse);
      at::Tensor dp = at::bmm(gm, vm.narrow(1, 0, tile.keys).transpose(1, 2)).view(p.sizes());
      at::Tensor dropped = p;
      if (call.dropout) {
        const at::Tensor factors = dropout_factors(tile, z, call, p);
        dp.mul_(factors);
        dropped = p * factors;
      }
      dvm.narrow(1, 0, tile.keys).add_(at::bmm(dropped.view({z.b * z.g, -1, tile.keys}).transpose(1, 2), gm));
      dp.sub_(output.delta.narrow(2, tile.begin, tile.rows).unsqueeze(-1)).mul_(p).mul_(call.scale);
      const at::Tensor ds = dp.view({z.b * z.g, -1, tile.keys});
      dkm.narrow(1, 0, tile.keys).add_(at::bmm(ds.transpose(1, 2), qm));
      const at::Tensor dq = at::bmm(ds, km.narrow(1, 0, tile.keys));
      gradient.dq.narrow(0, tile.begin, tile.rows).copy_(from_matrices(dq, z.b, tile.rows));
    }
    gradient.dk = from_matrices(dkm, z.b, z.s_kv);
    gradient.dv = from_matrices(dvm, z.b, z.s_kv);
    return gradient;
  }

 private:
  std::int64_t tile_bytes_;
};

}  // namespace

std::unique_ptr<BlockAttention> make_composed_block_attention(std::int64_t tile_bytes) {
  return std::make_unique<ComposedBlockAttention>(tile_bytes);
}

}  // namespace ringtron
