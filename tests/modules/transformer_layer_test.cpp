// A transformer layer against plain operations: output and all gradients in fp64. What all layouts have in common, such
// as the scale of the scores, no comparison of layouts can see.
#include "ringtron/modules/transformer_layer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <map>

#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/train/assembly.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr double kSameSums = 1e-10;
constexpr std::int64_t kRows = 12, kSamples = 2, kHidden = 16, kHeads = 4, kGroups = 2, kHeadSize = 4;
constexpr std::int64_t kQueries = kHeads / kGroups;

Config config(const std::string& flags) {
  const std::string line =
      "--num-layers 1 --hidden-size 16 --num-attention-heads 4 --group-query-attention --num-query-groups 2 "
      "--ffn-hidden-size 24 --seq-length 12 --max-position-embeddings 12 --tokenizer-type NullTokenizer "
      "--vocab-size 61 --mock-data --micro-batch-size 2 --train-iters 1 --lr 0.01 --distributed-backend gloo --fp64 " +
      flags;
  return std::get<CommandLine>(parse_command_line(split(line, ' '), 1)).config;
}

using Tensors = std::map<std::string, at::Tensor>;

struct Results {
  at::Tensor y, dx;
  Tensors gradients;
};

// `change` may set values before the layer runs; `values` are those that it has run with.
template <class Change>
Results layer_results(const std::string& flags, const at::Tensor& x, Change change, Tensors& values) {
  const Job job(config(flags), LaunchEnvironment{});
  Assembly parts(job);  // of which the attention is taken
  ParameterStore store({at::kDouble, at::kCPU, 99});
  const auto attention = make_cp_attention(job.parallel().context(), contiguous_layout(kRows, 1));
  const TransformerLayer layer(BuildContext{job.parallel(), store, *attention}, transformer_options(job.config()),
                               LayerSpec{});
  for (Parameter* parameter : store.all()) {
    const std::string name = parameter->name.substr(std::string("decoder.layers.0.").size());
    const at::NoGradGuard no_grad;
    change(name, parameter->value);
    values[name] = parameter->value.detach().clone();
  }
  StepContext step;
  step.training = true;
  step.sample_numbers = {0, 1};
  step.region = {at::arange(kRows, at::kLong), at::arange(kSamples, at::kLong)};
  const at::Tensor in = x.clone().requires_grad_();
  Results out;
  out.y = layer.forward(in, step);
  out.y.backward(random_tensor({kRows, kSamples, kHidden}, 2));
  out.dx = in.grad();
  for (const Parameter* parameter : store.all())
    out.gradients[parameter->name.substr(std::string("decoder.layers.0.").size())] = parameter->value.grad();
  return out;
}

at::Tensor norm(const at::Tensor& x, const Tensors& w, const std::string& prefix) {
  const at::Tensor centred = x - x.mean(-1, true);
  const at::Tensor unit = centred * at::rsqrt(centred.square().mean(-1, true) + 1e-5);
  return unit * w.at(prefix + "layer_norm_weight") + w.at(prefix + "layer_norm_bias");
}

at::Tensor linear(const at::Tensor& x, const Tensors& w, const std::string& prefix) {
  return at::matmul(x, w.at(prefix + "weight").t()) + w.at(prefix + "bias");
}

// One sample, one head at a time: x [s, h].
at::Tensor plain_attention(const at::Tensor& x, const Tensors& w, double scale) {
  const at::Tensor qkv = linear(norm(x, w, "self_attention.linear_qkv."), w, "self_attention.linear_qkv.")
                             .view({kRows, kGroups, kQueries + 2, kHeadSize});
  const at::Tensor behind = at::ones({kRows, kRows}, at::kBool).triu(1);
  std::vector<at::Tensor> heads;
  for (std::int64_t head = 0; head < kHeads; ++head) {
    const at::Tensor group = qkv.select(1, head / kQueries), q = group.select(1, head % kQueries);
    const at::Tensor k = group.select(1, kQueries), v = group.select(1, kQueries + 1);
    const at::Tensor scores =
        (at::matmul(q, k.t()) * scale).masked_fill(behind, -std::numeric_limits<double>::infinity());
    heads.push_back(at::matmul(at::softmax(scores, -1), v));
  }
  return linear(at::cat(heads, -1), w, "self_attention.linear_proj.");
}

at::Tensor plain_layer(const at::Tensor& x, const Tensors& w, double scale) {
  const at::Tensor middle = x + plain_attention(x, w, scale);
  const at::Tensor up = linear(norm(middle, w, "mlp.linear_fc1."), w, "mlp.linear_fc1.");
  return middle + linear(at::gelu(up, "tanh"), w, "mlp.linear_fc2.");
}

Results plain_results(const at::Tensor& x, const Tensors& values, double scale) {
  const at::Tensor in = x.clone().requires_grad_();
  Tensors leaves;
  for (const auto& [name, value] : values) leaves[name] = value.clone().requires_grad_();
  std::vector<at::Tensor> samples;
  for (std::int64_t b = 0; b < kSamples; ++b) samples.push_back(plain_layer(in.select(1, b), leaves, scale));
  Results out;
  out.y = at::stack(samples, 1);
  out.y.backward(random_tensor({kRows, kSamples, kHidden}, 2));
  out.dx = in.grad();
  for (const auto& [name, leaf] : leaves) out.gradients[name] = leaf.grad();
  return out;
}

TEST(TransformerLayer, EqualsPlainOperations) {
  const at::Tensor x = random_tensor({kRows, kSamples, kHidden}, 1);
  Tensors values;
  int seed = 10;
  const Results got = layer_results(
      "--hidden-dropout 0 --attention-dropout 0", x,
      [&](const std::string&, at::Tensor& value) { value.copy_(random_tensor(value.sizes(), seed++) * 0.5); }, values);
  const double scale = 1.0 / std::sqrt(static_cast<double>(kHeadSize));
  const Results expected = plain_results(x, values, scale);
  EXPECT_EQ(values.size(), 12u);
  EXPECT_TENSOR_NEAR(got.y, expected.y, kSameSums);
  EXPECT_TENSOR_NEAR(got.dx, expected.dx, kSameSums);
  for (const auto& [name, gradient] : expected.gradients)
    EXPECT_TENSOR_NEAR(got.gradients.at(name), gradient, kSameSums) << name;
  // Negative control: scores that are not scaled.
  EXPECT_FALSE(testing::tensor_near(got.y, plain_results(x, values, 1.0).y, kSameSums));
}

// Both branches give ones: with masks of their own some elements keep one of the two.
TEST(TransformerLayer, BranchesDropIndependently) {
  const at::Tensor x = at::zeros({kRows, kSamples, kHidden}, at::kDouble);
  Tensors values;
  const Results got = layer_results(
      "--hidden-dropout 0.5 --attention-dropout 0", x,
      [](const std::string& name, at::Tensor& value) {
        if (name == "self_attention.linear_proj.bias" || name == "mlp.linear_fc2.bias")
          value.fill_(1.0);
        else
          value.zero_();
      },
      values);
  const auto share = [&](double kept) { return got.y.eq(2.0 * kept).to(at::kDouble).mean().item<double>(); };
  EXPECT_NEAR(share(0) + share(1) + share(2), 1.0, 1e-12);
  EXPECT_NEAR(share(0), 0.25, 0.1);
  EXPECT_NEAR(share(1), 0.5, 0.1);
  EXPECT_NEAR(share(2), 0.25, 0.1);
}

}  // namespace
}  // namespace ringtron
