// The difference between two checkpoints: every kind of it is listed, and of equal ones nothing.
#include "ringtron/checkpoint/compare_checkpoints.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/checkpoint/element_values.h"
#include "tests/checkpoint/toy_state.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// One tensor, stored whole.
struct Tensor {
  std::string name;
  DType dtype;
  Shape shape;
  std::string bytes;
};

template <class T>
std::string bytes_of(std::initializer_list<T> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};
}

std::filesystem::path save(const std::filesystem::path& folder, std::int64_t iteration,
                           const std::vector<Tensor>& tensors, const nlohmann::json& metadata) {
  DiskFileSystem disk;
  const SaveLease lease(folder);
  CheckpointWriter writer(disk, folder, iteration);
  writer.prepare(lease);
  std::vector<TensorSlice> slices;
  for (const Tensor& tensor : tensors) {
    slices.push_back(
        {tensor.name, tensor.dtype, tensor.shape, whole_slab(tensor.shape), std::as_bytes(std::span(tensor.bytes))});
  }
  const std::string part = writer.write_shard(0, slices);
  writer.publish(std::span(&part, 1), metadata);
  return iteration_folder(folder, iteration);
}

TEST(CompareCheckpoints, HoweverTheyAreCutEqualOnesAreEqual) {
  TempDir one, other;
  DiskFileSystem disk;
  save_state(disk, one.path(), 7, toy_state(1), 4);
  save_state(disk, other.path(), 7, toy_state(1), 2, /*owners=*/2);
  const CheckpointDifference cut = compare_checkpoints(one.path(), other.path());
  EXPECT_THAT(cut.text, HasSubstr("layout.tp: 4 | 2"));  // what the toy's metadata says
  EXPECT_THAT(cut.text, Not(HasSubstr("tensors with")));
  EXPECT_THAT(cut.text, HasSubstr("tensors that are equal: 22\n"));
  EXPECT_TRUE(compare_checkpoints(one / "iter_0000007", one.path()).is_none);
  EXPECT_THROW(compare_checkpoints(one.path(), one / "nothing"), IoError);
}

TEST(CompareCheckpoints, ListsEveryKindOfDifference) {
  TempDir dir;
  const auto first = save(dir.path(), 2,
                          {{"same", DType::f32, {2}, bytes_of({1.0f, 2.0f})},
                           {"old", DType::bf16, {1, 2}, "abcd"},
                           {"reshaped", DType::f32, {2}, bytes_of({1.0f, 2.0f})},
                           {"retyped", DType::f32, {2}, bytes_of({1.0f, 2.0f})},
                           {"w", DType::f64, {2, 3}, bytes_of({0.0, 1.0, 2.0, 3.0, 4.0, 5.0})},
                           {"step", DType::i64, {}, bytes_of<std::int64_t>({5})}},
                          {{"configuration", {{"lr", 0.1}, {"bf16", true}}}, {"gone", 1}});
  const auto second = save(dir.path(), 4,
                           {{"same", DType::f32, {2}, bytes_of({1.0f, 2.0f})},
                            {"layers.10.new", DType::u8, {1}, "x"},
                            {"layers.2.new", DType::u8, {1}, "x"},
                            {"reshaped", DType::f32, {1, 2}, bytes_of({1.0f, 2.0f})},
                            {"retyped", DType::f64, {2}, bytes_of({1.0, 2.0})},
                            {"w", DType::f64, {2, 3}, bytes_of({0.0, 1.5, 2.0, std::nan(""), 4.0, 3.0})},
                            {"step", DType::i64, {}, bytes_of<std::int64_t>({9})}},
                           {{"configuration", {{"lr", 0.2}, {"bf16", true}}}});
  const CheckpointDifference difference = compare_checkpoints(first, second);
  EXPECT_FALSE(difference.is_none);
  const std::string heads = "first: " + first.string() + ", iteration 2, 6 tensors\nsecond: " + second.string() +
                            ", iteration 4, 7 tensors\n";
  EXPECT_EQ(difference.text, heads + R"(metadata that differs: 2
  configuration.lr: 0.1 | 0.2
  gone: 1 | (none)
tensors of the first alone: 1
  old  BF16 [1, 2]
tensors of the second alone: 2
  layers.2.new  U8 [1]
  layers.10.new  U8 [1]
tensors of another shape, not compared further: 1
  reshaped  [2] | [1, 2]
tensors of another type: 1
  retyped  F32 | F64
tensors with other values: 2
  step  I64 []: 1 of 1 elements differ, by at most 4 at []
  w  F64 [2, 3]: 3 of 6 elements differ, by at most 2 at [1, 2], 1 of them by what is no number
tensors that are equal: 1
)");
}

TEST(CompareCheckpoints, OneFlippedBitIsFoundInLargeTensors) {  // larger than what is compared at a time
  TempDir dir;
  const std::int64_t rows = 3000, columns = 2000;
  std::string bytes(static_cast<std::size_t>(rows * columns), '\1');
  const auto first = save(dir.path(), 1, {{"w", DType::i8, {rows, columns}, bytes}}, nlohmann::json::object());
  bytes[2500 * 2000 + 7] = '\3';
  const auto second = save(dir.path(), 2, {{"w", DType::i8, {rows, columns}, bytes}}, nlohmann::json::object());
  EXPECT_THAT(compare_checkpoints(first, second).text,
              HasSubstr("1 of 6000000 elements differ, by at most 2 at [2500, 7]\n"));
}

TEST(CompareCheckpoints, ADamagedFileIsNamed) {
  TempDir dir;
  const auto first = save(dir.path(), 1, {{"w", DType::i8, {2}, "ab"}}, nlohmann::json::object());
  const auto second = save(dir.path(), 2, {{"w", DType::i8, {2}, "ab"}}, nlohmann::json::object());
  EXPECT_TRUE(compare_checkpoints(first, second).is_none);
  const auto shard = second / "shard_00000.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 1);
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) + 1);
  try {
    compare_checkpoints(first, second);
    ADD_FAILURE() << "expected an IoError";
  } catch (const IoError& e) {
    EXPECT_THAT(e.what(), HasSubstr(shard.string()));
  }
}

TEST(ElementValues, OfSixteenBits) {
  const auto of = [](DType dtype, std::initializer_list<std::uint16_t> bits) {
    const std::string bytes = bytes_of(bits);
    return element_values(std::as_bytes(std::span(bytes)), dtype);
  };
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_THAT(of(DType::bf16, {0x3f80, 0xc040, 0x0000, 0x7f80}), ElementsAre(1.0, -3.0, 0.0, infinity));
  EXPECT_THAT(of(DType::f16, {0x3c00, 0xc200, 0x0001, 0x7bff, 0xfc00, 0x0400}),
              ElementsAre(1.0, -3.0, std::ldexp(1.0, -24), 65504.0, -infinity, std::ldexp(1.0, -14)));
  EXPECT_TRUE(std::isnan(of(DType::f16, {0x7e00})[0]));
}

}  // namespace
}  // namespace ringtron
