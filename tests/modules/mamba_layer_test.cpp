// A Mamba-2 layer against plain operations, position by position: output and all gradients in fp64.
#include "ringtron/modules/mamba_layer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>

#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/modules/module_spec.h"
#include "ringtron/train/assembly.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr double kSameSums = 1e-10;
constexpr std::int64_t kRows = 40, kSamples = 2, kHidden = 16, kHeads = 6, kHeadSize = 4, kGroups = 3, kState = 5;
constexpr std::int64_t kInner = kHeads * kHeadSize, kShared = kGroups * kState;
const std::vector<std::vector<std::int64_t>> kDocuments = {{7, 8}, {31}};

Config config() {
  const std::string line =
      "--hybrid-layer-pattern M --hidden-size 16 --num-attention-heads 4 --mamba-num-heads 6 --mamba-head-dim 4 "
      "--mamba-num-groups 3 --mamba-state-dim 5 --normalization RMSNorm --seq-length 40 --max-position-embeddings 40 "
      "--tokenizer-type NullTokenizer --vocab-size 61 --mock-data --micro-batch-size 2 --train-iters 1 --lr 0.01 "
      "--distributed-backend gloo --fp64 --hidden-dropout 0 --init-method-std 0.3";
  std::vector<std::string> words = split(line, ' ');
  return std::get<CommandLine>(parse_command_line(words, 1)).config;
}

using Weights = std::map<std::string, at::Tensor>;

at::Tensor rms(const at::Tensor& x) { return x * at::rsqrt(x.square().mean(-1, true) + 1e-5); }

// [rows, h] of one sample to [rows, h].
at::Tensor plain_sample(const at::Tensor& x, const Weights& w, const std::vector<std::int64_t>& starts) {
  const at::Tensor projected = at::matmul(rms(x) * w.at("in_proj.layer_norm_weight"), w.at("in_proj.weight").t());
  const auto parts = projected.split_with_sizes({kInner, kInner + 2 * kShared, kHeads}, 1);
  const at::Tensor z = parts[0], xbc = parts[1], t = at::softplus(parts[2] + w.at("dt_bias"));
  std::vector<at::Tensor> out;
  at::Tensor state;
  std::int64_t start = 0;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    if (i == 0 || std::count(starts.begin(), starts.end(), i) > 0) {
      state = at::zeros({kHeads, kHeadSize, kState}, at::kDouble);
      start = i;
    }
    at::Tensor sum = w.at("conv1d_bias");
    for (std::int64_t k = 0; k < 4; ++k) {
      if (i - 3 + k >= start) sum = sum + xbc[i - 3 + k] * w.at("conv1d_weight").select(1, 0).select(1, k);
    }
    const auto now = at::silu(sum).split_with_sizes({kInner, kShared, kShared});
    const at::Tensor u = now[0].view({kHeads, kHeadSize});
    const at::Tensor B = now[1].view({kGroups, kState}).repeat_interleave(kHeads / kGroups, 0);
    const at::Tensor C = now[2].view({kGroups, kState}).repeat_interleave(kHeads / kGroups, 0);
    const at::Tensor decay = (-w.at("A_log").exp() * t[i]).exp();
    state = decay.view({-1, 1, 1}) * state + (u * t[i].unsqueeze(1)).unsqueeze(2) * B.unsqueeze(1);
    const at::Tensor y = (state * C.unsqueeze(1)).sum(2) + u * w.at("D").unsqueeze(1);
    const at::Tensor gated = (y.view({-1}) * at::silu(z[i])).view({kGroups, -1});
    out.push_back(rms(gated).view({-1}) * w.at("norm.weight"));
  }
  return x + at::matmul(at::stack(out), w.at("out_proj.weight").t());
}

struct Results {
  at::Tensor y, dx;
  Weights gradients;
};

Results layer_results(const at::Tensor& x, const at::Tensor& dy, Weights& values) {
  const Job job(config(), LaunchEnvironment{});
  Assembly parts(job);  // of which the attention is taken
  ParameterStore store({at::kDouble, at::kCPU, 99});
  const auto attention = make_cp_attention(job.parallel().context(), contiguous_layout(kRows, 1));
  const MambaLayer layer(BuildContext{job.parallel(), store, *attention}, mamba_options(job.config()), LayerSpec{});
  StepContext step;
  step.scan = make_scan_shape({contiguous_layout(kRows, 1), kDocuments}, kSamples, 0);
  const at::Tensor in = x.clone().requires_grad_();
  Results out;
  out.y = layer.forward(in, step);
  out.y.backward(dy);
  out.dx = in.grad();
  for (const Parameter* parameter : store.all()) {
    const std::string name = parameter->name.substr(std::string("decoder.layers.0.mixer.").size());
    values[name] = parameter->value.detach();
    out.gradients[name] = parameter->value.grad();
  }
  return out;
}

Results plain_results(const at::Tensor& x, const at::Tensor& dy, const Weights& values,
                      const std::vector<std::vector<std::int64_t>>& documents) {
  const at::Tensor in = x.clone().requires_grad_();
  Weights leaves;
  for (const auto& [name, value] : values) leaves[name] = value.clone().requires_grad_();
  std::vector<at::Tensor> samples;
  for (std::int64_t b = 0; b < kSamples; ++b) {
    samples.push_back(plain_sample(in.select(1, b), leaves, documents[static_cast<std::size_t>(b)]));
  }
  Results out;
  out.y = at::stack(samples, 1);
  out.y.backward(dy);
  out.dx = in.grad();
  for (const auto& [name, leaf] : leaves) out.gradients[name] = leaf.grad();
  return out;
}

TEST(MambaLayer, EqualsPlainOperations) {
  const at::Tensor x = random_tensor({kRows, kSamples, kHidden}, 1), dy = random_tensor({kRows, kSamples, kHidden}, 2);
  Weights values;
  const Results got = layer_results(x, dy, values), expected = plain_results(x, dy, values, kDocuments);
  EXPECT_EQ(values.size(), 9u);
  EXPECT_TENSOR_NEAR(got.y, expected.y, kSameSums);
  EXPECT_TENSOR_NEAR(got.dx, expected.dx, kSameSums);
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_TENSOR_NEAR(got.gradients.at(name), gradient, kSameSums) << name;
  }
  // Negative control: a document that begins one position later.
  EXPECT_FALSE(testing::tensor_near(got.y, plain_results(x, dy, values, {{7, 9}, {31}}).y, kSameSums));
}

TEST(MambaLayer, StartsAsMegatronDoes) {
  Weights values;
  layer_results(random_tensor({kRows, kSamples, kHidden}, 1), random_tensor({kRows, kSamples, kHidden}, 2), values);
  const auto within = [](const at::Tensor& x, double least, double most) {
    return x.ge(least).logical_and(x.le(most)).all().item<bool>();
  };
  EXPECT_TRUE(within(at::softplus(values.at("dt_bias")), 0.000999, 0.1001));
  EXPECT_TRUE(within(values.at("A_log").exp(), 1.0, 16.0));
  EXPECT_TRUE(within(values.at("conv1d_weight"), -0.5, 0.5));
  EXPECT_TRUE(within(values.at("conv1d_bias"), -0.5, 0.5));
  EXPECT_GT(values.at("conv1d_weight").abs().max().item<double>(), 0.4);
  EXPECT_TENSOR_EQUAL(values.at("D"), at::ones({kHeads}, at::kDouble));
  EXPECT_TENSOR_EQUAL(values.at("norm.weight"), at::ones({kInner}, at::kDouble));
}

}  // namespace
}  // namespace ringtron
