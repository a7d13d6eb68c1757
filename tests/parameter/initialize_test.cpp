// Initial weights: shards put together are bit-equal to the tensor of one process, for any tensor-parallel
// size.
#include "ringtron/parameter/initialize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <array>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/random.h"

namespace ringtron {
namespace {

struct Case {
  const char* name;
  ShardSpec shard;
};

std::vector<Case> cases() {
  return {{"column", {.global_shape = {24, 5}, .dim = 0}},
          {"row", {.global_shape = {7, 40}, .dim = 1}},
          {"gated", {.global_shape = {48, 3}, .dim = 0, .parts = {24, 24}}},
          {"qkv", {.global_shape = {8 * 9, 13}, .dim = 0, .parts = {}}},
          {"large", {.global_shape = {512, 200}, .dim = 1}},
          {"drawn in several portions", {.global_shape = {1504, 1500}, .dim = 0}},
          {"replicated", {.global_shape = {33}}}};
}

enum class Kind { normal, xavier };

Parameter make(const Case& c, int rank, int size, Kind kind, at::ScalarType type = at::kFloat) {
  Parameter parameter;
  parameter.name = c.name;
  parameter.shard = c.shard;
  parameter.value = at::zeros(c.shard.local_shape(size), at::TensorOptions().dtype(type));
  parameter.value.set_requires_grad(true);
  if (kind == Kind::normal)
    fill_normal(parameter, 1234, 0.02, rank, size);
  else
    fill_xavier_uniform(parameter, 1234, rank, size);
  return parameter;
}

// Puts the ranks' shards together by single elements, independently of how the filling walks through them.
at::Tensor gather(const Case& c, int size, Kind kind) {
  at::Tensor whole = at::full(c.shard.global_shape, -7.0, at::TensorOptions().dtype(at::kFloat));
  float* out = whole.data_ptr<float>();
  for (int rank = 0; rank < size; ++rank) {
    const at::Tensor local = make(c, rank, size, kind).value.detach();
    for (std::int64_t i = 0; i < local.numel(); ++i)
      out[c.shard.global_element(i, rank, size)] = local.data_ptr<float>()[i];
  }
  return whole;
}

TEST(Initialize, ShardsJoinToTheSameBits) {
  for (const Case& c : cases())
    for (const Kind kind : {Kind::normal, Kind::xavier}) {
      if (kind == Kind::xavier && c.shard.global_shape.size() != 2) continue;
      const at::Tensor expected = make(c, 0, 1, kind).value.detach();
      for (const int size : {1, 2, 4, 8})
        EXPECT_TRUE(at::equal(gather(c, size, kind), expected)) << c.name << " tp " << size;
    }
}

TEST(Initialize, NegativeControlSwappedShards) {
  const Case c = cases()[0];
  const at::Tensor expected = make(c, 0, 1, Kind::normal).value.detach();
  const at::Tensor swapped =
      at::cat({make(c, 1, 2, Kind::normal).value.detach(), make(c, 0, 2, Kind::normal).value.detach()});
  EXPECT_FALSE(at::equal(swapped, expected));
}

TEST(Initialize, IsTheDocumentedStream) {
  // Bit-equal to two other shards' values and to random_normal(): elements at odd starts, too.
  const Case c{"w", {.global_shape = {1001}}};
  const at::Tensor value = make(c, 0, 1, Kind::normal, at::kDouble).value.detach();
  std::uint64_t key = 1234 + 0x9E3779B97F4A7C15ull;
  key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9ull;
  key = (key ^ (key >> 27)) * 0x94D049BB133111EBull;
  key ^= key >> 31;
  for (std::int64_t i = 0; i < 1001; ++i)
    ASSERT_EQ(value.data_ptr<double>()[i], 0.02 * random_normal(key, hash64("w"), i)) << i;
}

TEST(Initialize, HasTheRightMoments) {
  const Case c{"moments", {.global_shape = {400, 600}, .dim = 0}};
  const at::Tensor normal = make(c, 0, 1, Kind::normal, at::kDouble).value.detach();
  EXPECT_NEAR(normal.mean().item<double>(), 0.0, 5 * 0.02 / std::sqrt(240000.0));
  EXPECT_NEAR(normal.std().item<double>(), 0.02, 0.02 * 0.01);
  const at::Tensor uniform = make(c, 0, 1, Kind::xavier, at::kDouble).value.detach();
  const double bound = std::sqrt(6.0 / 1000.0);
  EXPECT_LT(uniform.abs().max().item<double>(), bound);
  EXPECT_NEAR(uniform.std().item<double>(), bound / std::sqrt(3.0), bound * 0.01);
}

TEST(Initialize, NameAndSeedMatter) {
  const Case a{"a", {.global_shape = {64}}}, b{"b", {.global_shape = {64}}};
  Parameter first = make(a, 0, 1, Kind::normal), other = make(a, 0, 1, Kind::normal);
  EXPECT_FALSE(at::equal(first.value, make(b, 0, 1, Kind::normal).value));
  fill_normal(other, 1235, 0.02, 0, 1);
  EXPECT_FALSE(at::equal(first.value, other.value));
}

TEST(Initialize, RoundsToTheParametersType) {
  const Case c{"bf16", {.global_shape = {100}}};
  const at::Tensor wide = make(c, 0, 1, Kind::normal).value.detach();
  const at::Tensor narrow = make(c, 0, 1, Kind::normal, at::kBFloat16).value.detach();
  EXPECT_TRUE(at::equal(narrow, wide.to(at::kBFloat16)));
}

TEST(Initialize, ConstantAndWrongShape) {
  Parameter parameter = make(cases()[0], 0, 2, Kind::normal);
  fill_constant(parameter, 1.0);
  EXPECT_TRUE(at::equal(parameter.value, at::ones({12, 5})));
  EXPECT_TRUE(parameter.value.requires_grad());
  EXPECT_THROW(fill_normal(parameter, 1, 0.02, 0, 4), InternalError);
}

// Compiled without OpenMP, at::parallel_for is a plain loop: a model of billions of weights then takes minutes to
// begin.
TEST(Initialize, OurLoopsRunOnAllThreads) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  std::array<int, 2> thread = {-1, -1};
  at::parallel_for(0, 2, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) thread[static_cast<std::size_t>(i)] = at::get_thread_num();
  });
  at::set_num_threads(before);
  EXPECT_EQ(thread, (std::array<int, 2>{0, 1}));
}

}  // namespace
}  // namespace ringtron
