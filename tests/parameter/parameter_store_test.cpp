// A store that waits for values draws none, and draws the same ones when asked to.
#include "ringtron/parameter/parameter_store.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "tests/support/unwritten_is_nan.h"

namespace ringtron {
namespace {

void add_some(ParameterStore& store) {
  store.add({{"normal", {{8, 6}, 0}, Initial::normal(0.5)},
             {"uniform", {{4, 6}, 1}, {Initial::Kind::xavier_uniform}},
             {"padded", {{8, 3}, 0}, Initial::normal(0.5), kDataContextAxes, 5},
             {"ones", {{7}}, Initial::constant(1.0)}});
}

TEST(ParameterStore, WaitsForValuesAndDrawsTheSameOnes) {
  const testing::UnwrittenIsNan nan;
  for (const int rank : {0, 1}) {
    ParameterStore drawn({.tp_rank = rank, .tp_size = 2}),
        waiting({.tp_rank = rank, .tp_size = 2, .values = InitialValues::deferred});
    add_some(drawn);
    add_some(waiting);
    const ParameterList expected = drawn.all(), got = waiting.all();
    for (const Parameter* parameter : got) {
      const std::int64_t padding = parameter->local_padding_rows;
      EXPECT_EQ(padding, parameter->name == "padded" ? 3 * rank : 0);
      const std::int64_t written = parameter->value.isfinite().sum().item<std::int64_t>();
      EXPECT_EQ(written, padding * 3) << parameter->name << ": zeros of the padding";
    }
    waiting.draw();
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i]->value.equal(expected[i]->value)) << got[i]->name;
  }
}

TEST(ParameterStore, FindsParametersByName) {
  ParameterStore store({});
  const NamedParameters all = store.add({{"layer.mlp.weight", {{2}}}, {"layer.norm.weight", {{3}}}});
  const NamedParameters mlp = all.within("layer.").within("mlp.");
  EXPECT_EQ(mlp.at("weight").name, "layer.mlp.weight");
  EXPECT_EQ(&mlp.at("weight"), all.find("layer.mlp.weight"));
  EXPECT_EQ(mlp.find("bias"), nullptr);
  EXPECT_THROW(mlp.at("bias"), InternalError);
}

}  // namespace
}  // namespace ringtron
