// Attention through cuDNN against attention composed of plain operations in fp64 on the CPU.
#include "ringtron/kernels/attention/cudnn_attention.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ringtron/base/error.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

// Norm of the error over norm of the truth. 2.0-2.4e-3 was measured, of which 1.6e-3 is the last rounding to bf16.
constexpr double kTolerance = 4e-3;
constexpr double kLseTolerance = 1e-4;  // fp32 sums of exponentials from the fast exponential unit

struct Case {
  const char* name;
  std::int64_t s_q, s_kv, b, n, g, d;
  bool causal;
};

constexpr Case kCases[] = {
    {"square", 256, 256, 2, 4, 4, 128, false},         {"causal", 256, 256, 2, 4, 4, 128, true},
    {"causal grouped", 512, 512, 1, 8, 2, 128, true},  {"one kv head", 192, 192, 2, 6, 1, 64, true},
    {"small head", 128, 128, 3, 2, 2, 64, false},      {"more keys", 128, 384, 2, 4, 2, 128, false},
    {"more queries", 384, 128, 2, 4, 2, 64, false},    {"odd rows", 77, 131, 2, 3, 3, 64, false},
    {"odd causal rows", 101, 101, 1, 4, 2, 128, true}, {"one query", 1, 64, 1, 4, 4, 64, false},
};

struct Inputs {
  at::Tensor q, k, v, d_out;  // fp64 on the CPU, values that bf16 can hold
  double scale;
};

at::Tensor random_bf16(at::IntArrayRef shape, at::Generator& generator) {
  return at::randn(shape, generator, at::TensorOptions(at::kDouble)).to(at::kBFloat16).to(at::kDouble);
}

Inputs inputs_of(const Case& c) {
  at::Generator generator = at::detail::createCPUGenerator(1234);
  return {random_bf16({c.s_q, c.b, c.n, c.d}, generator), random_bf16({c.s_kv, c.b, c.g, c.d}, generator),
          random_bf16({c.s_kv, c.b, c.g, c.d}, generator), random_bf16({c.s_q, c.b, c.n, c.d}, generator),
          1.0 / std::sqrt(static_cast<double>(c.d))};
}

struct Truth {
  at::Tensor out, lse, dq, dk, dv;
};

// [s, b, g, d] -> [b, n, s, d], each key/value head repeated for its query heads.
at::Tensor heads_first(const at::Tensor& x, std::int64_t n) {
  return x.repeat_interleave(n / x.size(2), 2).permute({1, 2, 0, 3}).contiguous();
}

// The inverse for a gradient: the query heads of one key/value head add up.
at::Tensor add_heads(const at::Tensor& x, std::int64_t g) {
  const std::int64_t b = x.size(0), n = x.size(1), s = x.size(2), d = x.size(3);
  return x.view({b, g, n / g, s, d}).sum(2).permute({2, 0, 1, 3});
}

Truth truth_of(const Case& c, const Inputs& in) {
  const at::Tensor q = heads_first(in.q, c.n), k = heads_first(in.k, c.n), v = heads_first(in.v, c.n);
  at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * in.scale;
  if (c.causal) {
    const at::Tensor above = at::ones({c.s_q, c.s_kv}, at::kBool).triu(1);
    scores = scores.masked_fill(above, -std::numeric_limits<double>::infinity());
  }
  const at::Tensor p = at::softmax(scores, -1), d_out = heads_first(in.d_out, c.n);
  const at::Tensor out = at::matmul(p, v);
  const at::Tensor delta = (d_out * out).sum(-1, true);
  const at::Tensor ds = p * (at::matmul(d_out, v.transpose(2, 3)) - delta) * in.scale;
  return {out.permute({2, 0, 1, 3}), at::logsumexp(scores, -1), at::matmul(ds, k).permute({2, 0, 1, 3}),
          add_heads(at::matmul(ds.transpose(2, 3), q), c.g), add_heads(at::matmul(p.transpose(2, 3), d_out), c.g)};
}

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  const at::Tensor difference = got.detach().to(at::kCPU, at::kDouble) - expected;
  return difference.norm().item<double>() / expected.norm().item<double>();
}

at::Tensor on_gpu(const at::Tensor& x) { return x.to(at::kCUDA, at::kBFloat16); }

class CudnnAttentionGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }
};

TEST_F(CudnnAttentionGpu, ForwardAndBackwardMatchTheTruth) {
  CudnnAttention attention;
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const Inputs in = inputs_of(c);
    const Truth truth = truth_of(c, in);
    const at::Tensor q = on_gpu(in.q), k = on_gpu(in.k), v = on_gpu(in.v);
    const CudnnAttentionOptions options{.scale = in.scale, .causal = c.causal, .deterministic = false};
    const CudnnAttentionResult got = attention.forward(q, k, v, options);
    EXPECT_EQ(got.out.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(got.out.is_contiguous());
    EXPECT_LE(relative_error(got.out, truth.out), kTolerance);
    EXPECT_TENSOR_NEAR(got.lse, truth.lse, kLseTolerance);
    const CudnnAttentionGradient gradient = attention.backward(q, k, v, {on_gpu(in.d_out), got.out, got.lse}, options);
    EXPECT_LE(relative_error(gradient.dq, truth.dq), kTolerance);
    EXPECT_LE(relative_error(gradient.dk, truth.dk), kTolerance);
    EXPECT_LE(relative_error(gradient.dv, truth.dv), kTolerance);
  }
}

// What a ring does: blocks of keys one by one, merged in fp32, then each block's backward with the merged result.
TEST_F(CudnnAttentionGpu, BlocksMergeIntoTheWhole) {
  const Case c{"two blocks", 256, 512, 2, 8, 2, 128, false};
  const Inputs in = inputs_of(c);
  const Truth truth = truth_of(c, in);
  const at::Tensor q = on_gpu(in.q), d_out = on_gpu(in.d_out);
  const CudnnAttentionOptions options{.scale = in.scale, .causal = false, .deterministic = false};
  CudnnAttention attention;
  std::vector<at::Tensor> keys, values;
  std::vector<CudnnAttentionResult> parts;
  for (std::int64_t i = 0; i < 2; ++i) {
    keys.push_back(on_gpu(in.k).narrow(0, 256 * i, 256));
    values.push_back(on_gpu(in.v).narrow(0, 256 * i, 256));
    parts.push_back(attention.forward(q, keys[i], values[i], options));
  }
  const at::Tensor lse = at::logaddexp(parts[0].lse, parts[1].lse);
  at::Tensor out = at::zeros(q.sizes(), q.options().dtype(at::kFloat));
  for (const CudnnAttentionResult& part : parts) {
    out.add_(part.out * (part.lse - lse).exp().permute({2, 0, 1}).unsqueeze(-1));
  }
  EXPECT_LE(relative_error(out, truth.out), kTolerance);
  EXPECT_TENSOR_NEAR(lse, truth.lse, kLseTolerance);

  const at::Tensor merged = out.to(at::kBFloat16);
  at::Tensor dq = at::zeros_like(out);
  for (std::int64_t i = 0; i < 2; ++i) {
    const CudnnAttentionGradient share = attention.backward(q, keys[i], values[i], {d_out, merged, lse}, options);
    dq.add_(share.dq);
    EXPECT_LE(relative_error(share.dk, truth.dk.narrow(0, 256 * i, 256)), kTolerance);
    EXPECT_LE(relative_error(share.dv, truth.dv.narrow(0, 256 * i, 256)), kTolerance);
  }
  EXPECT_LE(relative_error(dq, truth.dq), kTolerance);

  // Negative control: a block's own log-sum-exp instead of the merged one must be seen.
  const CudnnAttentionGradient wrong =
      attention.backward(q, keys[0], values[0], {d_out, merged, parts[0].lse}, options);
  EXPECT_GT(relative_error(wrong.dv, truth.dv.narrow(0, 0, 256)), 10 * kTolerance);
}

TEST_F(CudnnAttentionGpu, CausalIsSeen) {
  const Case c{"causal", 128, 128, 1, 2, 2, 64, true};
  const Inputs in = inputs_of(c);
  CudnnAttention attention;
  const CudnnAttentionResult unmasked = attention.forward(on_gpu(in.q), on_gpu(in.k), on_gpu(in.v),
                                                          {.scale = in.scale, .causal = false, .deterministic = false});
  EXPECT_GT(relative_error(unmasked.out, truth_of(c, in).out), 10 * kTolerance);
}

// q, k and v cut from one projection, and rows cut from a longer tensor, are read in place or copied, but always right.
TEST_F(CudnnAttentionGpu, StridedInputsGiveTheSameBits) {
  const Case c{"fused", 128, 128, 2, 4, 2, 64, true};
  const Inputs in = inputs_of(c);
  const CudnnAttentionOptions options{.scale = in.scale, .causal = true, .deterministic = true};
  CudnnAttention attention;
  const at::Tensor q = on_gpu(in.q), k = on_gpu(in.k), v = on_gpu(in.v), d_out = on_gpu(in.d_out);
  const CudnnAttentionResult packed = attention.forward(q, k, v, options);
  const CudnnAttentionGradient packed_gradient = attention.backward(q, k, v, {d_out, packed.out, packed.lse}, options);

  const at::Tensor fused = at::cat({q, k, v}, 2);
  const at::Tensor q2 = fused.narrow(2, 0, 4), k2 = fused.narrow(2, 4, 2), v2 = fused.narrow(2, 6, 2);
  const at::Tensor longer = at::cat({d_out, d_out}, 3);
  const CudnnAttentionResult strided = attention.forward(q2, k2, v2, options);
  EXPECT_TENSOR_EQUAL(strided.out, packed.out);
  EXPECT_TENSOR_EQUAL(strided.lse, packed.lse);
  const CudnnAttentionGradient gradient =
      attention.backward(q2, k2, v2, {longer.narrow(3, 0, 64), packed.out, packed.lse}, options);
  EXPECT_TENSOR_EQUAL(gradient.dq, packed_gradient.dq);
  EXPECT_TENSOR_EQUAL(gradient.dk, packed_gradient.dk);
  EXPECT_TENSOR_EQUAL(gradient.dv, packed_gradient.dv);

  // Starts 2 bytes after a 16-byte boundary: must be copied, since the kernels would read the wrong place.
  at::Tensor shifted = at::empty({q.numel() + 1}, q.options()).narrow(0, 1, q.numel()).view(q.sizes());
  shifted.copy_(q);
  EXPECT_TENSOR_EQUAL(attention.forward(shifted, k, v, options).out, packed.out);
}

// Half of the heads after the other, in place in tensors of all heads, give the bits of one call.
TEST_F(CudnnAttentionGpu, GradientsOfSomeHeadsGoWhereTheyAreWanted) {
  const Case c{"halves", 256, 256, 2, 8, 4, 128, true};
  const Inputs in = inputs_of(c);
  const CudnnAttentionOptions options{.scale = in.scale, .causal = true, .deterministic = true};
  CudnnAttention attention;
  const at::Tensor q = on_gpu(in.q), k = on_gpu(in.k), v = on_gpu(in.v), d_out = on_gpu(in.d_out);
  const CudnnAttentionResult forward = attention.forward(q, k, v, options);
  const CudnnAttentionGradient expected = attention.backward(q, k, v, {d_out, forward.out, forward.lse}, options);
  const CudnnAttentionGradient whole{at::full_like(q, NAN), at::full_like(k, NAN), at::full_like(v, NAN)};
  for (const std::int64_t first : {0, 2}) {  // of the key/value heads
    const auto kv = [&](const at::Tensor& x) { return x.narrow(2, first, 2); };
    const auto queries = [&](const at::Tensor& x) { return x.narrow(2, 2 * first, 4); };
    const CudnnAttentionGradient got = attention.backward(
        queries(q), kv(k), kv(v), {queries(d_out), queries(forward.out), forward.lse.narrow(1, 2 * first, 4)}, options,
        {queries(whole.dq), kv(whole.dk), kv(whole.dv)});
    EXPECT_EQ(got.dq.data_ptr(), queries(whole.dq).data_ptr());
  }
  EXPECT_TENSOR_EQUAL(whole.dq, expected.dq);
  EXPECT_TENSOR_EQUAL(whole.dk, expected.dk);
  EXPECT_TENSOR_EQUAL(whole.dv, expected.dv);
  EXPECT_THROW(attention.backward(q, k, v, {d_out, forward.out, forward.lse}, options, {whole.dq, whole.dk, whole.dq}),
               InternalError);
}

TEST_F(CudnnAttentionGpu, DeterministicBackwardRepeatsItsBits) {
  const Case c{"deterministic", 1024, 1024, 2, 8, 2, 128, true};
  const Inputs in = inputs_of(c);
  const CudnnAttentionOptions options{.scale = in.scale, .causal = true, .deterministic = true};
  CudnnAttention attention;
  const at::Tensor q = on_gpu(in.q), k = on_gpu(in.k), v = on_gpu(in.v), d_out = on_gpu(in.d_out);
  const CudnnAttentionResult got = attention.forward(q, k, v, options);
  const CudnnAttentionGradient first = attention.backward(q, k, v, {d_out, got.out, got.lse}, options);
  for (int i = 0; i < 5; ++i) {
    const CudnnAttentionGradient again = attention.backward(q, k, v, {d_out, got.out, got.lse}, options);
    EXPECT_TENSOR_EQUAL(again.dq, first.dq);
    EXPECT_TENSOR_EQUAL(again.dk, first.dk);
    EXPECT_TENSOR_EQUAL(again.dv, first.dv);
  }
}

TEST_F(CudnnAttentionGpu, PlansAreKept) {
  const Inputs in = inputs_of(kCases[0]);
  CudnnAttention attention;
  const at::Tensor q = on_gpu(in.q), k = on_gpu(in.k), v = on_gpu(in.v);
  attention.forward(q, k, v, {.scale = in.scale, .causal = false, .deterministic = false});
  attention.forward(q, k, v, {.scale = in.scale, .causal = false, .deterministic = true});
  EXPECT_EQ(attention.plans(), 1u);
  attention.forward(q, k, v, {.scale = in.scale, .causal = true, .deterministic = false});
  EXPECT_EQ(attention.plans(), 2u);
}

TEST_F(CudnnAttentionGpu, RefusalsSayWhy) {
  const at::TensorOptions bf16 = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const at::Tensor q = at::zeros({8, 1, 4, 64}, bf16), k = at::zeros({16, 1, 2, 64}, bf16);
  std::string reason;
  EXPECT_TRUE(cudnn_attention_supports(q, k, k, false, &reason)) << reason;
  EXPECT_EQ(reason, "");
  EXPECT_FALSE(cudnn_attention_supports(q, k, k, true, &reason));
  EXPECT_NE(reason.find("not square"), std::string::npos) << reason;
  EXPECT_FALSE(cudnn_attention_supports(q.to(at::kFloat), k, k, false, &reason));
  EXPECT_NE(reason.find("BFloat16"), std::string::npos) << reason;
  const at::Tensor wide = at::zeros({8, 1, 4, 136}, bf16);
  EXPECT_FALSE(cudnn_attention_supports(wide, wide, wide, false, &reason));
  EXPECT_NE(reason.find("136"), std::string::npos) << reason;
  EXPECT_FALSE(cudnn_attention_supports(q, k.narrow(0, 0, 0), k.narrow(0, 0, 0), false));
  EXPECT_THROW(CudnnAttention().forward(q, k, k, {.scale = 1.0, .causal = true, .deterministic = false}),
               InternalError);
}

}  // namespace
}  // namespace ringtron
