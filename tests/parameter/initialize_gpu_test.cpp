// Initial weights drawn on a GPU against those drawn on the CPU: the same numbers, of every division.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "ringtron/parameter/initialize.h"

namespace ringtron {
namespace {

enum class Kind { normal, xavier };

at::Tensor drawn(Kind kind, int dim, at::ScalarType type, at::Device device, int rank, int size,
                 std::uint64_t seed = 7) {
  Parameter parameter;
  parameter.name = "decoder.layers.3.mlp.linear_fc1.weight";
  parameter.shard = {{1026, 770}, dim};
  parameter.value = at::empty(parameter.shard.local_shape(size), at::TensorOptions().dtype(type).device(device));
  if (kind == Kind::normal)
    fill_normal(parameter, seed, 0.02, rank, size);
  else
    fill_xavier_uniform(parameter, seed, rank, size);
  return parameter.value.cpu();
}

TEST(InitializeGpu, DrawsTheCpusNumbers) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  for (const Kind kind : {Kind::normal, Kind::xavier}) {
    for (const int dim : {0, 1}) {
      for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
        for (int rank = 0; rank < 2; ++rank) {
          const at::Tensor cpu = drawn(kind, dim, type, at::kCPU, rank, 2),
                           gpu = drawn(kind, dim, type, at::kCUDA, rank, 2);
          // The last bit of a double, which may be another.
          EXPECT_LE((gpu - cpu).abs().max().item<double>(), type == at::kDouble ? 1e-16 : 4e-9);
          const std::int64_t others = gpu.ne(cpu).sum().item<std::int64_t>();
          EXPECT_LE(others, type == at::kDouble ? gpu.numel() / 2 : 1) << at::toString(type);
          EXPECT_FALSE(at::equal(gpu, drawn(kind, dim, type, at::kCUDA, rank, 2, /*seed=*/8)));  // negative control
        }
      }
    }
  }
}

}  // namespace
}  // namespace ringtron
