// AdamW and the optimizer against a plain double-precision formula, one element at a time.
#include "ringtron/optim/adam.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ringtron/base/error.h"
#include "ringtron/base/random.h"
#include "ringtron/kernels/adamw/weight_halves.h"
#include "ringtron/optim/main_weight.h"
#include "ringtron/optim/optimizer.h"

namespace ringtron {
namespace {

constexpr double kFp64 = 1e-13;  // another order of the same few operations
constexpr double kFp32 = 2e-6;

struct Scalar {
  double p, m = 0.0, v = 0.0;
  void step(double g, int t, const AdamStep& s, const AdamOptions& o) {
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double mhat = m / (1 - std::pow(o.beta1, t)), vhat = v / (1 - std::pow(o.beta2, t));
    p = p - s.lr * (mhat / (std::sqrt(vhat) + o.eps) + s.weight_decay * p);
  }
};

Parameter make(const std::string& name, std::vector<std::int64_t> shape, at::ScalarType type) {
  Parameter parameter;
  parameter.name = name;
  parameter.shard.global_shape = shape;
  parameter.value = at::linspace(-1.0, 1.0, 1, at::kDouble).expand(shape).to(type).contiguous();
  parameter.value.set_requires_grad(true);
  parameter.gradient = at::zeros(shape, type == at::kDouble ? at::kDouble : at::kFloat);
  return parameter;
}

BucketPlan one_bucket(const ParameterList& parameters, int group_size = 1) {
  std::vector<std::int64_t> sizes;
  for (const Parameter* parameter : parameters) sizes.push_back(parameter->value.numel());
  return plan_buckets(sizes, {.overlap = false, .bucket_size = 0, .group_size = group_size});
}

Optimizer optimizer_of(const ParameterList& parameters) { return Optimizer(parameters, one_bucket(parameters), {}); }

double worst_difference(at::ScalarType type, double weight_decay, double reference_decay) {
  constexpr int kCount = 40001;  // more than one thread's share, and odd
  const AdamOptions options{0.9, 0.95, 1e-8};
  const auto at_type = at::TensorOptions().dtype(type);
  AdamTensors t{at::arange(kCount, at_type).sin(), at::zeros({kCount}, at_type), at::zeros({kCount}, at_type),
                at::zeros({kCount}, at_type)};
  std::vector<Scalar> reference;
  const at::Tensor start = t.main.to(at::kDouble);
  for (int i = 0; i < kCount; ++i) reference.push_back({start.data_ptr<double>()[i]});
  for (int step = 1; step <= 5; ++step) {
    t.gradient.copy_((at::arange(kCount, at_type) * step).cos());
    const at::Tensor gradient = t.gradient.to(at::kDouble);
    const AdamStep s{1e-2 * step, weight_decay, step};
    adamw({&t, 1}, options, s, at::full({}, 0.5, at::kDouble));
    for (int i = 0; i < kCount; ++i)
      reference[i].step(0.5 * gradient.data_ptr<double>()[i], step, {s.lr, reference_decay, step}, options);
  }
  double worst = 0.0;
  const at::Tensor got = t.main.to(at::kDouble);
  for (int i = 0; i < kCount; ++i) worst = std::max(worst, std::abs(got.data_ptr<double>()[i] - reference[i].p));
  return worst;
}

TEST(Adam, MatchesTheFormula) {
  EXPECT_LT(worst_difference(at::kDouble, 0.1, 0.1), kFp64);
  EXPECT_LT(worst_difference(at::kFloat, 0.1, 0.1), kFp32);
}

TEST(Adam, NegativeControlWithoutWeightDecay) { EXPECT_GT(worst_difference(at::kDouble, 0.1, 0.0), 1e-4); }

TEST(Adam, RefusesMixedTypes) {
  AdamTensors t{at::zeros({3}), at::zeros({3}, at::kDouble), at::zeros({3}), at::zeros({3})};
  EXPECT_THROW(adamw({&t, 1}, {}, {}, at::ones({})), InternalError);
}

TEST(Optimizer, DecaysMatricesOnly) {
  Parameter weight = make("fc.weight", {2, 3}, at::kDouble), bias = make("fc.bias", {3}, at::kDouble),
            norm = make("norm.weight", {3}, at::kDouble);
  Optimizer optimizer = optimizer_of({&weight, &bias, &norm});
  optimizer.step({0.1}, 0.5, at::ones({}));  // zero gradients: only the decay moves weights
  EXPECT_TRUE(at::allclose(weight.value, at::full({2, 3}, -0.95, at::kDouble)));
  EXPECT_TRUE(at::equal(bias.value, at::full({3}, -1.0, at::kDouble)));
  EXPECT_TRUE(at::equal(norm.value, at::full({3}, -1.0, at::kDouble)));
  EXPECT_EQ(optimizer.step_count(), 1);
  EXPECT_TRUE(optimizer.state("fc.weight").main().is_alias_of(weight.value));
  EXPECT_THROW(optimizer.state("fc"), InternalError);
}

// --decoupled-lr: word embedding and output layer have a learning rate of their own, if there is one.
TEST(Optimizer, WordEmbeddingAndOutputLayerAreDecoupled) {
  Parameter weight = make("decoder.layers.0.mlp.linear_fc1.weight", {2, 3}, at::kDouble),
            embedding = make("embedding.word_embeddings.weight", {4, 3}, at::kDouble),
            positions = make("embedding.position_embeddings.weight", {4, 3}, at::kDouble),
            output = make("output_layer.weight", {4, 3}, at::kDouble);
  Optimizer optimizer = optimizer_of({&weight, &embedding, &positions, &output});
  const auto expect_values = [&](double others, double decoupled) {
    for (const Parameter* p : {&weight, &positions})
      EXPECT_NEAR(p->value[0][0].item<double>(), others, 1e-12) << p->name;
    for (const Parameter* p : {&embedding, &output})
      EXPECT_NEAR(p->value[0][0].item<double>(), decoupled, 1e-12) << p->name;
  };
  optimizer.step({0.1, 0.2}, 0.5, at::ones({}));  // zero gradients: only the decay moves weights
  expect_values(-0.95, -0.9);
  optimizer.step({0.1}, 0.5, at::ones({}));
  expect_values(-0.95 * 0.95, -0.9 * 0.95);
}

TEST(Optimizer, Bf16KeepsSmallStepsInTheMainWeight) {
  Parameter weight = make("w", {4, 4}, at::kBFloat16);
  Optimizer optimizer = optimizer_of({&weight});
  for (int step = 0; step < 8; ++step) {
    weight.gradient.fill_(1.0);
    optimizer.step({1e-3}, 0.0, at::ones({}));  // below half a bf16 unit at 1: lost without main weights
  }
  EXPECT_NEAR(optimizer.state("w").main()[0][0].item<double>(), -1.008, 1e-5);
  EXPECT_TRUE(at::equal(weight.value, optimizer.state("w").main().to(at::kBFloat16)));
  EXPECT_LT(weight.value[0][0].item<double>(), -1.0);
}

// Every kind of fp32 number comes back from its halves, and the upper one is the nearest bf16 number.
TEST(WeightHalves, KeepEveryBit) {
  std::vector<std::uint32_t> patterns = {0x7f800000u, 0xff800000u, 0x7f7fffffu, 0xff7fffffu,
                                         1u,          0x80000001u, 0x7fffffffu};
  for (std::uint64_t i = 0; i < 100000; ++i) patterns.push_back(random_word(1, 2, i));
  for (std::uint32_t tie = 0; tie < 0x10000u; tie += 0x101u) patterns.push_back(tie << 16 | 0x8000u);
  std::vector<float> numbers(patterns.size());
  std::memcpy(numbers.data(), patterns.data(), patterns.size() * 4);
  const at::Tensor main = at::from_blob(numbers.data(), {static_cast<std::int64_t>(numbers.size())}, at::kFloat);
  const at::Tensor upper = at::empty(main.sizes(), at::kBFloat16), lower = at::empty(main.sizes(), at::kShort);
  split_into_halves(main, upper, lower);
  const at::Tensor back = join_halves(upper, lower);
  int ties = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const float x = numbers[i];
    const WeightHalves halves = halves_of(x);
    ASSERT_EQ(halves.upper, static_cast<std::uint16_t>(upper.data_ptr<c10::BFloat16>()[i].x)) << patterns[i];
    ASSERT_EQ(halves.lower, lower.data_ptr<std::int16_t>()[i]) << patterns[i];
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(whole_of(halves)) && std::isnan(static_cast<float>(upper.data_ptr<c10::BFloat16>()[i])));
      continue;
    }
    ASSERT_EQ(std::memcmp(&x, &back.data_ptr<float>()[i], 4), 0) << patterns[i];
    const float whole = whole_of(halves);
    ASSERT_EQ(std::memcmp(&x, &whole, 4), 0) << patterns[i];
    if ((patterns[i] & 0xffffu) == 0x8000u) {
      ++ties;  // away from zero
      ASSERT_EQ(halves.upper, static_cast<std::uint16_t>((patterns[i] >> 16) + 1));
    } else {
      ASSERT_EQ(halves.upper, c10::BFloat16(x).x) << patterns[i];
    }
  }
  EXPECT_GT(ties, 100);
}

TEST(Optimizer, LoadedStateContinuesWithTheSameBits) {
  Parameter a = make("w", {5, 7}, at::kBFloat16), b = make("w", {5, 7}, at::kBFloat16);
  Optimizer saved = optimizer_of({&a}), loaded = optimizer_of({&b});
  const at::Tensor gradient = at::arange(35, at::kFloat).sin().view({5, 7});
  const auto step = [&](Optimizer& optimizer, Parameter& parameter) {
    parameter.gradient.copy_(gradient);
    optimizer.step({1e-2}, 0.1, at::full({}, 0.7));
  };
  step(saved, a);
  step(saved, a);
  loaded.state("w").set_main(saved.state("w").main());
  loaded.state("w").exp_avg.copy_(saved.state("w").exp_avg);
  loaded.state("w").exp_avg_sq.copy_(saved.state("w").exp_avg_sq);
  loaded.set_step_count(saved.step_count());
  EXPECT_TRUE(at::equal(a.value, b.value));
  step(saved, a);
  step(loaded, b);
  EXPECT_TRUE(at::equal(saved.state("w").main(), loaded.state("w").main()));
  loaded.restart_from_parameters();
  EXPECT_TRUE(at::equal(loaded.state("w").main(), b.value.to(at::kFloat)));
  EXPECT_EQ(loaded.state("w").exp_avg_sq.count_nonzero().item<std::int64_t>(), 0);
  EXPECT_EQ(loaded.step_count(), 0);
}

// What a sharded optimizer relies on: ranks that own ranges of the buckets make, between them, the step of one that
// owns all.
TEST(Optimizer, OwnersOfRangesMakeTheSameStepTogether) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const int ranks : {2, 3}) {
      struct Model {
        Parameter first, second, bias;
        ParameterList list() { return {&first, &second, &bias}; }
      };
      const auto made = [&] {
        return Model{make("a.weight", {9, 11}, type), make("b.weight", {64, 5}, type), make("b.bias", {7}, type)};
      };
      Model whole = made(), shared = made();
      Optimizer one = optimizer_of(whole.list());
      const BucketPlan plan = one_bucket(shared.list(), ranks);
      std::vector<Optimizer> owners;
      for (int rank = 0; rank < ranks; ++rank) {
        owners.emplace_back(shared.list(), plan, AdamOptions{}, InitialValues::drawn, bucket_shards(plan, rank, ranks));
      }
      for (int step = 1; step <= 3; ++step) {
        for (Model* model : {&whole, &shared}) {
          for (Parameter* p : model->list())
            p->gradient.copy_((at::arange(p->value.numel()) * step).sin().view(p->value.sizes()));
        }
        one.step({1e-2}, 0.1, at::full({}, 0.7));
        for (Optimizer& owner : owners) owner.step({1e-2}, 0.1, at::full({}, 0.7));
      }
      std::size_t states = 0;
      for (Optimizer& owner : owners) states += owner.states().size();
      EXPECT_GT(states, whole.list().size()) << "some parameter has two owners";
      for (std::size_t i = 0; i < whole.list().size(); ++i) {
        EXPECT_TRUE(at::equal(whole.list()[i]->value, shared.list()[i]->value)) << at::toString(type) << ' ' << ranks;
      }
    }
  }
}

}  // namespace
}  // namespace ringtron
