// Many tiles in one call of cuDNN against each tile composed of plain operations in fp64 on the CPU.
#include "ringtron/kernels/attention/cudnn_varlen_attention.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "ringtron/base/error.h"
#include "ringtron/base/random.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using Tiles = std::vector<SampleTile>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLseTolerance = 1e-4;  // fp32 sums of exponentials from the fast exponential unit

// Norm of the error over norm of the truth. In bf16 2.0-2.4e-3 was measured for whole blocks, of which 1.6e-3 is the
// last rounding; fp16 has three more bits.
double tolerance(at::ScalarType type) { return type == at::kHalf ? 1e-3 : 4e-3; }

struct Case {
  const char* name;
  std::int64_t s_q, s_kv, b, n, g, d;
  bool causal;
  Tiles tiles;
  at::ScalarType type = at::kBFloat16;
};

struct Inputs {
  at::Tensor q, k, v, d_out;  // fp64 on the CPU, values that the type can hold
  double scale;
};

Inputs inputs_of(const Case& c) {
  at::Generator generator = at::detail::createCPUGenerator(1234);
  const auto random = [&](std::int64_t s, std::int64_t heads) {
    return at::randn({s, c.b, heads, c.d}, generator, at::TensorOptions(at::kDouble)).to(c.type).to(at::kDouble);
  };
  const at::Tensor q = random(c.s_q, c.n), k = random(c.s_kv, c.g), v = random(c.s_kv, c.g), d_out = random(c.s_q, c.n);
  return {q, k, v, d_out, 1.0 / std::sqrt(static_cast<double>(c.d))};
}

struct Results {
  at::Tensor out, lse, dq, dk, dv;
};

// Rows of one sample of [s, b, heads, d], as [heads, rows, d]; a view.
at::Tensor rows_of(const at::Tensor& x, std::int64_t sample, std::int64_t first, std::int64_t rows) {
  return x.narrow(0, first, rows).select(1, sample).transpose(0, 1);
}

// Sums over the query heads of one key/value head.
at::Tensor add_heads(const at::Tensor& x, std::int64_t g) {
  return x.view({g, x.size(0) / g, x.size(1), x.size(2)}).sum(1);
}

// All tiles alone: their own softmax. `whole`: the final output and log-sum-exp for the gradients; null: the tile's
// own.
Results truth_of(const Case& c, const Inputs& in, const Results* whole = nullptr) {
  Results truth{at::zeros_like(in.q), at::full({c.b, c.n, c.s_q}, -kInfinity, at::kDouble), at::zeros_like(in.q),
                at::zeros_like(in.k), at::zeros_like(in.v)};
  for (const SampleTile& t : c.tiles) {
    const auto queries = [&](const at::Tensor& x) { return rows_of(x, t.sample, t.first_q, t.q_rows); };
    const auto keys = [&](const at::Tensor& x) { return rows_of(x, t.sample, t.first_kv, t.kv_rows); };
    const auto lse_of = [&](const at::Tensor& x) { return x.select(0, t.sample).narrow(1, t.first_q, t.q_rows); };
    const at::Tensor k = keys(in.k).repeat_interleave(c.n / c.g, 0), v = keys(in.v).repeat_interleave(c.n / c.g, 0);
    at::Tensor scores = at::matmul(queries(in.q), k.transpose(1, 2)) * in.scale;
    if (c.causal) scores = scores.masked_fill(at::ones({t.q_rows, t.kv_rows}, at::kBool).triu(1), -kInfinity);
    lse_of(truth.lse).copy_(at::logsumexp(scores, -1));
    queries(truth.out).copy_(at::matmul(at::softmax(scores, -1), v));
    const Results& final = whole ? *whole : truth;
    const at::Tensor p = (scores - lse_of(final.lse).unsqueeze(-1)).exp(), d_out = queries(in.d_out);
    const at::Tensor delta = (d_out * queries(final.out)).sum(-1, true);
    const at::Tensor ds = p * (at::matmul(d_out, v.transpose(1, 2)) - delta) * in.scale;
    queries(truth.dq).copy_(at::matmul(ds, k));
    keys(truth.dk).copy_(add_heads(at::matmul(ds.transpose(1, 2), queries(in.q)), c.g));
    keys(truth.dv).copy_(add_heads(at::matmul(p.transpose(1, 2), d_out), c.g));
  }
  return truth;
}

// Absolute where the truth is nothing: the gradient of a query that sees one key.
double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  const at::Tensor difference = got.detach().to(at::kCPU, at::kDouble) - expected;
  return difference.norm().item<double>() / std::max(1.0, expected.norm().item<double>());
}

// [s, b]: rows of q, or of k and v, that no tile has.
at::Tensor rows_of_no_tile(const Case& c, bool keys) {
  const at::Tensor none = at::ones({keys ? c.s_kv : c.s_q, c.b}, at::kBool);
  for (const SampleTile& t : c.tiles) {
    none.select(1, t.sample).narrow(0, keys ? t.first_kv : t.first_q, keys ? t.kv_rows : t.q_rows).fill_(false);
  }
  return none;
}

// Documents one after the other, cut at random; `gap`: the share that is left out.
Tiles documents(std::int64_t rows, std::int64_t samples, std::int64_t longest, double gap, std::uint64_t seed) {
  Tiles tiles;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    for (std::int64_t row = 0; row < rows;) {
      const auto at = static_cast<std::uint64_t>(sample * rows + row);
      const std::int64_t length = std::min<std::int64_t>(rows - row, 1 + random_word(seed, 1, at) % longest);
      if (random_word(seed, 2, at) * 0x1p-32 >= gap) tiles.push_back({sample, row, length, row, length});
      row += length;
    }
  }
  return tiles;
}

// The same tiles, but the keys of each are those of another of them: lengths differ and the order of keys is no longer
// that of queries.
Tiles with_keys_turned(Tiles tiles, std::int64_t samples) {
  Tiles turned;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    Tiles mine;
    std::copy_if(tiles.begin(), tiles.end(), std::back_inserter(mine),
                 [&](const auto& t) { return t.sample == sample; });
    for (std::size_t i = 0; i < mine.size(); ++i) {
      const SampleTile& other = mine[mine.size() - 1 - i];
      turned.push_back({sample, mine[i].first_q, mine[i].q_rows, other.first_kv, other.kv_rows});
    }
  }
  return turned;
}

class CudnnVarlenAttentionGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }

  static at::Tensor on_gpu(const at::Tensor& x, at::ScalarType type) { return x.to(at::kCUDA, type); }

  // Forward, and the backward from it unless `whole` says more.
  Results run(const Case& c, const Inputs& in, const Results* whole = nullptr) {
    const at::Tensor q = on_gpu(in.q, c.type), k = on_gpu(in.k, c.type), v = on_gpu(in.v, c.type);
    const UploadedTables tables = upload_varlen_tables(c.tiles, c.causal, q, k);
    const CudnnAttentionResult got = attention_.forward(q, k, v, tables, in.scale);
    const CudnnAttentionOutput output{on_gpu(in.d_out, c.type), whole ? on_gpu(whole->out, c.type) : got.out,
                                      whole ? on_gpu(whole->lse, at::kFloat) : got.lse};
    const CudnnAttentionGradient gradient = attention_.backward(q, k, v, output, tables, in.scale);
    return {got.out, got.lse, gradient.dq, gradient.dk, gradient.dv};
  }

  static void expect_near(const Case& c, const Results& got, const Results& truth) {
    EXPECT_EQ(got.out.scalar_type(), c.type);
    EXPECT_EQ(got.lse.scalar_type(), at::kFloat);
    const at::Tensor lse = got.lse.to(at::kCPU), unseen = truth.lse.isneginf();
    EXPECT_TRUE(at::equal(lse.isneginf(), unseen)) << "rows that no tile has";
    EXPECT_TENSOR_NEAR(lse.masked_fill(unseen, 0.0), truth.lse.masked_fill(unseen, 0.0), kLseTolerance);
    const at::Tensor no_query = rows_of_no_tile(c, false), no_key = rows_of_no_tile(c, true);
    const std::tuple<const char*, at::Tensor, at::Tensor, at::Tensor> results[] = {
        {"out", got.out, truth.out, no_query},
        {"dq", got.dq, truth.dq, no_query},
        {"dk", got.dk, truth.dk, no_key},
        {"dv", got.dv, truth.dv, no_key}};
    for (const auto& [name, mine, expected, empty] : results) {
      ASSERT_EQ(mine.sizes(), expected.sizes()) << name;
      EXPECT_LE(relative_error(mine, expected), tolerance(c.type)) << name;
      const at::Tensor largest = mine.to(at::kCPU, at::kDouble).abs().amax(at::IntArrayRef{2, 3});
      EXPECT_EQ(largest.masked_select(empty).sum().item<double>(), 0.0) << name << " in rows that no tile has";
    }
  }

  void expect_truth(const Case& c) {
    SCOPED_TRACE(c.name);
    const Inputs in = inputs_of(c);
    expect_near(c, run(c, in), truth_of(c, in));
  }

  CudnnVarlenAttention attention_;
};

TEST_F(CudnnVarlenAttentionGpu, OneSampleMatchesTheTruth) {
  const Tiles packed = documents(1000, 1, 300, 0.0, 1);
  expect_truth({"causal", 1000, 1000, 1, 4, 4, 128, true, packed});
  expect_truth({"causal grouped", 1000, 1000, 1, 8, 2, 128, true, packed});
  expect_truth({"all cells, one kv head", 1000, 1000, 1, 6, 1, 64, false, packed});
  expect_truth({"keys of other documents", 1000, 1000, 1, 4, 2, 64, false, with_keys_turned(packed, 1)});
  expect_truth({"one tile of all", 512, 384, 1, 4, 2, 128, false, {{0, 0, 512, 0, 384}}});
  expect_truth(
      {"q half against more keys", 300, 700, 1, 4, 2, 128, false, {{0, 0, 100, 0, 650}, {0, 100, 200, 650, 50}}});
}

TEST_F(CudnnVarlenAttentionGpu, SmallestAndLargestNumbersOfTiles) {
  expect_truth({"one token", 1, 1, 1, 4, 2, 64, false, {{0, 0, 1, 0, 1}}});
  expect_truth({"one token of many", 64, 64, 1, 4, 2, 64, true, {{0, 17, 1, 17, 1}}});
  expect_truth({"one token between others",
                260,
                260,
                1,
                4,
                2,
                128,
                true,
                {{0, 0, 130, 0, 130}, {0, 130, 1, 130, 1}, {0, 131, 129, 131, 129}}});
  expect_truth({"one query, many keys", 1, 500, 1, 4, 2, 128, false, {{0, 0, 1, 0, 500}}});
  expect_truth({"many queries, one key", 500, 1, 1, 4, 2, 128, false, {{0, 0, 500, 0, 1}}});
  expect_truth({"hundreds of documents", 4000, 4000, 1, 4, 2, 64, true, documents(4000, 1, 20, 0.0, 2)});
}

TEST_F(CudnnVarlenAttentionGpu, GapsAndRowsOfNoTileAreEmpty) {
  expect_truth({"causal gaps", 900, 900, 1, 8, 2, 128, true, documents(900, 1, 100, 0.5, 3)});
  expect_truth({"gaps", 900, 900, 1, 4, 4, 64, false, with_keys_turned(documents(900, 1, 100, 0.5, 4), 1)});
  expect_truth({"the middle alone", 777, 555, 1, 4, 2, 128, false, {{0, 301, 99, 205, 131}}});
}

TEST_F(CudnnVarlenAttentionGpu, LongAndShortTilesOfOneBatch) {
  Tiles tiles = documents(2000, 1, 12, 0.0, 5);
  tiles.push_back({0, 2000, 3000, 2000, 3000});
  tiles.push_back({0, 5000, 700, 5000, 700});
  expect_truth({"causal", 5700, 5700, 1, 2, 1, 128, true, tiles});
  expect_truth({"all cells", 5700, 5700, 1, 2, 2, 64, false, tiles});
}

TEST_F(CudnnVarlenAttentionGpu, HalfPrecision) {
  const Tiles packed = documents(800, 1, 200, 0.1, 6);
  expect_truth({"causal", 800, 800, 1, 8, 2, 128, true, packed, at::kHalf});
  expect_truth({"all cells", 800, 800, 1, 4, 4, 64, false, with_keys_turned(packed, 1), at::kHalf});
}

// The row step is that of all samples, and a sample begins within a row.
TEST_F(CudnnVarlenAttentionGpu, SeveralSamples) {
  expect_truth({"causal", 500, 500, 3, 4, 2, 128, true, documents(500, 3, 150, 0.0, 7)});
  expect_truth({"gaps", 500, 500, 2, 8, 2, 64, false, with_keys_turned(documents(500, 2, 150, 0.4, 8), 2)});
}

// What a ring does: a batch of causal squares and one of rectangles, merged, then each one's backward with the result.
TEST_F(CudnnVarlenAttentionGpu, BatchesMergeIntoTheWhole) {
  Case squares{"squares", 600, 600, 2, 8, 2, 128, true, documents(600, 2, 90, 0.0, 9)};
  Case rectangles = squares;
  rectangles.causal = false;
  rectangles.tiles = with_keys_turned(documents(600, 2, 200, 0.3, 10), 2);
  const Inputs in = inputs_of(squares);
  const Results a = truth_of(squares, in), b = truth_of(rectangles, in);
  Results whole;
  whole.lse = at::logaddexp(a.lse, b.lse);
  const auto weight = [&](const at::Tensor& lse) { return (lse - whole.lse).exp().permute({2, 0, 1}).unsqueeze(-1); };
  whole.out = a.out * weight(a.lse) + b.out * weight(b.lse);
  for (const Case* c : {&squares, &rectangles}) {
    SCOPED_TRACE(c->name);
    expect_near(*c, run(*c, in, &whole), truth_of(*c, in, &whole));
  }
}

TEST_F(CudnnVarlenAttentionGpu, OnePlanServesAnyPacking) {
  Case c{"first", 2048, 2048, 1, 8, 2, 128, true, documents(2048, 1, 200, 0.0, 11)};
  const Inputs in = inputs_of(c);
  run(c, in);
  const std::size_t plans = attention_.plans();
  for (std::uint64_t seed = 12; seed < 16; ++seed) {
    c.tiles = documents(2048, 1, 200, seed % 2 ? 0.2 : 0.0, seed);
    expect_near(c, run(c, in), truth_of(c, in));
  }
  // Numbers of tiles fall into two classes at most, each with a forward and a backward.
  EXPECT_LE(attention_.plans(), plans + 2);
}

// The same tables again and again, as layers use them: forward the same bits, backward near enough.
TEST_F(CudnnVarlenAttentionGpu, TablesAreUsedByManyCalls) {
  const Case c{"layers", 1000, 1000, 1, 4, 2, 64, true, documents(1000, 1, 120, 0.0, 16)};
  const Inputs in = inputs_of(c);
  const at::Tensor q = on_gpu(in.q, c.type), k = on_gpu(in.k, c.type), v = on_gpu(in.v, c.type);
  const UploadedTables tables = upload_varlen_tables(c.tiles, c.causal, q, k);
  const CudnnAttentionResult first = attention_.forward(q, k, v, tables, in.scale);
  for (int layer = 0; layer < 5; ++layer) {
    const CudnnAttentionResult again = attention_.forward(q, k, v, tables, in.scale);
    EXPECT_TENSOR_EQUAL(again.out, first.out);
    EXPECT_TENSOR_EQUAL(again.lse, first.lse);
  }
}

// Negative controls: the comparisons must tell rows or keys that are one off, and a mask that is missing.
TEST_F(CudnnVarlenAttentionGpu, ComparisonSeesTablesThatAreOff) {
  Tiles tiles = documents(500, 1, 90, 0.0, 17);
  for (SampleTile& tile : tiles) {  // all but the last row of each, so that there is room to be off
    tile.q_rows = tile.kv_rows = std::max<std::int64_t>(1, tile.q_rows - 1);
  }
  const Case right{"right", 500, 500, 1, 4, 2, 64, true, tiles};
  const Inputs in = inputs_of(right);
  const Results truth = truth_of(right, in);
  EXPECT_LE(relative_error(run(right, in).out, truth.out), tolerance(right.type));
  Case keys = right, queries = right, mask = right;
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    if (tiles[i].first_q + tiles[i].q_rows == 500) continue;
    keys.tiles[i].first_kv += 1;
    queries.tiles[i].first_q += 1;
  }
  mask.causal = false;
  for (const Case* wrong : {&keys, &queries, &mask}) {
    const Results got = run(*wrong, in);
    EXPECT_GT(relative_error(got.out, truth.out), 10 * tolerance(right.type));
    EXPECT_GT(relative_error(got.dk, truth.dk), 10 * tolerance(right.type));
  }
}

TEST_F(CudnnVarlenAttentionGpu, StridedAndUnalignedInputsAreCopied) {
  const Case c{"strided", 400, 400, 1, 4, 4, 64, true, documents(400, 1, 90, 0.0, 18)};
  const Inputs in = inputs_of(c);
  const at::Tensor q = on_gpu(in.q, c.type), k = on_gpu(in.k, c.type), v = on_gpu(in.v, c.type);
  const UploadedTables tables = upload_varlen_tables(c.tiles, c.causal, q, k);
  const CudnnAttentionResult packed = attention_.forward(q, k, v, tables, in.scale);
  const at::Tensor fused = at::cat({q, k, v}, 2);
  const CudnnAttentionResult strided =
      attention_.forward(fused.narrow(2, 0, 4), fused.narrow(2, 4, 4), fused.narrow(2, 8, 4), tables, in.scale);
  EXPECT_TENSOR_EQUAL(strided.out, packed.out);
  at::Tensor shifted = at::empty({q.numel() + 1}, q.options()).narrow(0, 1, q.numel()).view(q.sizes());
  shifted.copy_(q);
  EXPECT_TENSOR_EQUAL(attention_.forward(shifted, k, v, tables, in.scale).out, packed.out);
}

TEST_F(CudnnVarlenAttentionGpu, RefusalsSayWhy) {
  const at::TensorOptions bf16 = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const at::Tensor q = at::zeros({8, 1, 4, 64}, bf16), k = at::zeros({16, 1, 2, 64}, bf16);
  std::string reason;
  EXPECT_TRUE(cudnn_varlen_attention_supports(q, k, k, &reason)) << reason;
  EXPECT_FALSE(cudnn_varlen_attention_supports(q.to(at::kFloat), k, k, &reason));
  EXPECT_NE(reason.find("BFloat16"), std::string::npos) << reason;
  EXPECT_FALSE(cudnn_varlen_attention_supports(q, k.to(at::kHalf), k, &reason));
  const at::Tensor odd = at::zeros({8, 1, 4, 72}, bf16);
  EXPECT_FALSE(cudnn_varlen_attention_supports(odd, odd, odd, &reason));
  EXPECT_NE(reason.find("72"), std::string::npos) << reason;
  EXPECT_THROW(upload_varlen_tables({{0, 0, 4, 0, 5}}, true, q, k), InternalError);
  EXPECT_THROW(upload_varlen_tables({{0, 5, 4, 0, 4}}, false, q, k), InternalError);
  const UploadedTables tables = upload_varlen_tables({{0, 0, 4, 0, 4}}, false, q, k);
  EXPECT_THROW(attention_.forward(q.narrow(0, 0, 6), k, k, tables, 1.0), InternalError);
}

}  // namespace
}  // namespace ringtron
