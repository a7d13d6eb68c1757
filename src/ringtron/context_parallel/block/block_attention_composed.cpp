// Block attention from matrix products and elementwise operations, tile by tile of query rows.
#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block/block_attention.h"

namespace ringtron {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Most rows of a tile where the band has slanted edges: so many cells beside each edge are computed for nothing.
constexpr std::int64_t kSlantedRows = 128;

struct Sizes {
  std::int64_t s_q, s_kv, b, n, g, d, d_v;
};

Sizes sizes_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) {
  const Sizes z{q.size(0), k.size(0), q.size(1), q.size(2), k.size(2), q.size(3), v.size(3)};
  RT_CHECK(k.size(1) == z.b && k.size(3) == z.d && z.g > 0 && z.n % z.g == 0,
           "q [{}, {}, {}, {}] against k [{}, {}, {}, {}]", z.s_q, z.b, z.n, z.d, z.s_kv, k.size(1), z.g, k.size(3));
  RT_CHECK(v.sizes().slice(0, 3) == k.sizes().slice(0, 3), "k [{}, {}, {}, ...] against v [{}, {}, {}, ...]", z.s_kv,
           z.b, z.g, v.size(0), v.size(1), v.size(2));
  if (call.dropout) {
    RT_CHECK_EQ(static_cast<std::int64_t>(call.dropout->sample_numbers.size()), z.b, "sample numbers for dropout");
  }
  return z;
}

// [s, b, g*r, d] -> [b*g, r*s, d]: one matrix per key/value head, the r query heads that share it stacked.
at::Tensor to_matrices(const at::Tensor& x, std::int64_t g, at::ScalarType type) {
  const std::int64_t s = x.size(0), b = x.size(1), r = x.size(2) / g, d = x.size(3);
  return x.to(type).reshape({s, b, g, r, d}).permute({1, 2, 3, 0, 4}).reshape({b * g, r * s, d});
}

// The inverse, to [s, b, heads, d].
at::Tensor from_matrices(const at::Tensor& x, std::int64_t s, std::int64_t b, std::int64_t g, std::int64_t heads) {
  const std::int64_t d = x.size(2);
  return x.view({b, g, heads / g, s, d}).permute({3, 0, 1, 2, 4}).reshape({s, b, heads, d});
}

// The rows of q that see a key. They are neighbours, because both ends of what a row sees ascend.
PositionRange rows_with_keys(const Band& band, const Sizes& z) {
  if (band.left + band.right < 0 || z.s_kv == 0) return {};
  return intersection({0, z.s_q}, {-band.right, z.s_kv + band.left});
}

// Rows of the queries, and all keys that any of them sees.
struct Tile {
  PositionRange rows, keys;
};

Tile tile_at(std::int64_t begin, std::int64_t count, const Band& band, std::int64_t s_kv) {
  return {{begin, begin + count}, {band.row(begin, s_kv).begin, band.row(begin + count - 1, s_kv).end}};
}

std::vector<Tile> tiles_of(const Sizes& z, const Band& band, at::ScalarType type, std::int64_t tile_bytes) {
  const std::int64_t cell_bytes = z.b * z.n * static_cast<std::int64_t>(at::elementSize(type));
  const PositionRange rows = rows_with_keys(band, z);
  std::vector<Tile> tiles;
  for (std::int64_t begin = rows.begin; begin < rows.end;) {
    std::int64_t count = rows.end - begin;
    if (!band.is_all()) count = std::min(count, kSlantedRows);
    // Fewer rows never see more keys, so the bytes with the keys of `count` rows are enough.
    const std::int64_t row_bytes = cell_bytes * tile_at(begin, count, band, z.s_kv).keys.length();
    count = std::clamp<std::int64_t>(tile_bytes / std::max<std::int64_t>(row_bytes, 1), 1, count);
    tiles.push_back(tile_at(begin, count, band, z.s_kv));
    begin += count;
  }
  return tiles;
}

// -inf where row i does not see key j; scores [b, n, rows, keys].
void mask_scores(at::Tensor& scores, const Tile& tile, const Band& band, std::int64_t s_kv) {
  const bool cut_left = band.row(tile.rows.end - 1, s_kv).begin > tile.keys.begin;
  const bool cut_right = band.row(tile.rows.begin, s_kv).end < tile.keys.end;
  if (!cut_left && !cut_right) return;
  const at::TensorOptions index = scores.options().dtype(at::kLong);
  const at::Tensor i = at::arange(tile.rows.begin, tile.rows.end, index).unsqueeze(1);
  const at::Tensor j = at::arange(tile.keys.begin, tile.keys.end, index);
  if (cut_left) scores.masked_fill_(j.lt(i - band.left), -kInfinity);
  if (cut_right) scores.masked_fill_(j.gt(i + band.right), -kInfinity);
}

// Masked, scaled scores [b, n, rows, keys]; the matrices are those of the tile.
at::Tensor scores_of(const at::Tensor& q_matrices, const at::Tensor& k_matrices, const Tile& tile, const Sizes& z,
                     const BlockCall& call) {
  at::Tensor scores = at::bmm(q_matrices, k_matrices.transpose(1, 2)).mul_(call.scale);
  scores = scores.view({z.b, z.n, tile.rows.length(), tile.keys.length()});
  mask_scores(scores, tile, call.band, z.s_kv);
  return scores;
}

// exp(scores - lse) in place; a row that sees no key (lse -inf) gives zeros instead of NaN.
at::Tensor probabilities(at::Tensor scores, const at::Tensor& lse) {
  const at::Tensor finite = lse.masked_fill(lse.isneginf(), 0.0);
  return scores.sub_(finite.unsqueeze(-1)).exp_();
}

at::Tensor dropout_factors(const Tile& tile, const Sizes& z, const BlockCall& call, const at::Tensor& like) {
  const auto queries = slice_ranges(call.q_positions, tile.rows.begin, tile.rows.length());
  const auto keys = slice_ranges(call.kv_positions, tile.keys.begin, tile.keys.length());
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
    result.out = at::zeros({z.s_q, z.b, z.n, z.d_v}, q.options().dtype(type));
    result.lse = at::full({z.b, z.n, z.s_q}, -kInfinity, result.out.options());
    const at::Tensor km = to_matrices(k, z.g, type), vm = to_matrices(v, z.g, type);
    for (const Tile& tile : tiles_of(z, call.band, type, tile_bytes_)) {
      const std::int64_t row = tile.rows.begin, rows = tile.rows.length(), keys = tile.keys.length();
      const at::Tensor qm = to_matrices(q.narrow(0, row, rows), z.g, type);
      const at::Tensor kt = km.narrow(1, tile.keys.begin, keys), vt = vm.narrow(1, tile.keys.begin, keys);
      at::Tensor p = scores_of(qm, kt, tile, z, call);
      const at::Tensor lse = at::logsumexp(p, -1);
      p = probabilities(p, lse);
      if (call.dropout) p.mul_(dropout_factors(tile, z, call, p));
      const at::Tensor out = at::bmm(p.view({z.b * z.g, -1, keys}), vt);
      result.out.narrow(0, row, rows).copy_(from_matrices(out, rows, z.b, z.g, z.n));
      result.lse.narrow(2, row, rows).copy_(lse);
    }
    return result;
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    const Sizes z = sizes_of(q, k, v, call);
    const at::ScalarType type = accumulate_type(q.scalar_type());
    BlockGradient gradient;
    gradient.dq = at::zeros(q.sizes(), q.options().dtype(type));
    const at::Tensor km = to_matrices(k, z.g, type), vm = to_matrices(v, z.g, type);
    at::Tensor dkm = at::zeros_like(km), dvm = at::zeros_like(vm);
    const at::Tensor delta = output.delta.defined() ? output.delta : row_sums(output.d_out, output.out);
    for (const Tile& tile : tiles_of(z, call.band, type, tile_bytes_)) {
      const std::int64_t row = tile.rows.begin, rows = tile.rows.length(), keys = tile.keys.length();
      const at::Tensor qm = to_matrices(q.narrow(0, row, rows), z.g, type);
      const at::Tensor gm = to_matrices(output.d_out.narrow(0, row, rows), z.g, type);
      const at::Tensor kt = km.narrow(1, tile.keys.begin, keys), vt = vm.narrow(1, tile.keys.begin, keys);
      const at::Tensor p = probabilities(scores_of(qm, kt, tile, z, call), output.lse.narrow(2, row, rows));
      at::Tensor dp = at::bmm(gm, vt.transpose(1, 2)).view(p.sizes());
      at::Tensor dropped = p;
      if (call.dropout) {
        const at::Tensor factors = dropout_factors(tile, z, call, p);
        dp.mul_(factors);
        dropped = p * factors;
      }
      dvm.narrow(1, tile.keys.begin, keys).add_(at::bmm(dropped.view({z.b * z.g, -1, keys}).transpose(1, 2), gm));
      dp.sub_(delta.narrow(2, row, rows).unsqueeze(-1)).mul_(p).mul_(call.scale);
      const at::Tensor ds = dp.view({z.b * z.g, -1, keys});
      dkm.narrow(1, tile.keys.begin, keys).add_(at::bmm(ds.transpose(1, 2), qm));
      gradient.dq.narrow(0, row, rows).copy_(from_matrices(at::bmm(ds, kt), rows, z.b, z.g, z.n));
    }
    gradient.dk = from_matrices(dkm, z.s_kv, z.b, z.g, z.g);
    gradient.dv = from_matrices(dvm, z.s_kv, z.b, z.g, z.g);
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
