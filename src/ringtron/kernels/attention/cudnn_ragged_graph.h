// The ragged graphs behind cudnn_ragged_attention.h, and their plans. Only files that include cudnn-frontend include
// this.
#pragma once

#include <cudnn_frontend.h>

#include <compare>
#include <cstdint>
#include <string>

namespace ringtron::internal {

// Names of a ragged graph's tensors: rows, then the tables of RaggedTables.
enum RaggedUid : std::int64_t {
  kRaggedQ = 1,
  kRaggedK,
  kRaggedV,
  kRaggedOut,
  kRaggedLse,
  kRaggedDOut,
  kRaggedDq,
  kRaggedDk,
  kRaggedDv,
  kRaggedQLengths,
  kRaggedKvLengths,
  kRaggedQOffsets,
  kRaggedKvOffsets,
  kRaggedLseOffsets,
};

// Everything that a plan depends on.
struct RaggedPlanKey {
  bool backward, causal, half;  // half: fp16, else bf16
  double scale;
  std::int64_t n, g, d;
  std::int64_t row_step;           // tokens from one row of a sample to the next
  std::int64_t capacity, longest;  // of tiles, and rows of one
  std::int64_t q_rows, kv_rows;    // backward: bounds of the rows of the tensors, for workspace; forward: 0
  auto operator<=>(const RaggedPlanKey&) const = default;
};

std::string describe(const RaggedPlanKey& key);

void describe_graph(cudnn_frontend::graph::Graph& graph, const RaggedPlanKey& key);

}  // namespace ringtron::internal
