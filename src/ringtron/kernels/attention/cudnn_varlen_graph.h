// The varlen graphs behind cudnn_varlen_attention.h, and their plans. Only files that include cudnn-frontend include
// this.
#pragma once

#include <cudnn_frontend.h>

#include <compare>
#include <cstdint>
#include <string>

namespace ringtron::internal {

// Names of a varlen graph's tensors: rows, then the tables of VarlenTables.
enum VarlenUid : std::int64_t {
  kVarlenQ = 1,
  kVarlenK,
  kVarlenV,
  kVarlenOut,
  kVarlenLse,
  kVarlenDOut,
  kVarlenDq,
  kVarlenDk,
  kVarlenDv,
  kVarlenQLengths,
  kVarlenKvLengths,
  kVarlenQOffsets,
  kVarlenKvOffsets,
  kVarlenLseOffsets,
};

// Everything that a plan depends on.
struct VarlenPlanKey {
  bool backward, causal, half;  // half: fp16, else bf16
  double scale;
  std::int64_t n, g, d;
  std::int64_t row_step;           // tokens from one row of a sample to the next
  std::int64_t capacity, longest;  // of tiles, and rows of one
  std::int64_t q_rows, kv_rows;    // backward: bounds of the rows of the tensors, for workspace; forward: 0
  auto operator<=>(const VarlenPlanKey&) const = default;
};

std::string describe(const VarlenPlanKey& key);

void describe_graph(cudnn_frontend::graph::Graph& graph, const VarlenPlanKey& key);

}  // namespace ringtron::internal
