#include "ringtron/context_parallel/plan/exchange_proof.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

constexpr std::size_t kColumns = 4;

}  // namespace

std::vector<std::int64_t> ExchangeProof::table() const {
  std::vector<std::int64_t> table;
  for (const auto& [number, proof] : layers_) {
    table.insert(table.end(),
                 {number, proof.done.bytes - proof.expected.bytes, proof.done.cells, proof.expected.cells});
  }
  return table;
}

std::vector<std::string> check_exchange(const std::vector<std::vector<std::int64_t>>& tables_of_ranks) {
  std::vector<std::string> faults;
  const std::size_t size = tables_of_ranks.front().size();
  for (const auto& table : tables_of_ranks) RT_CHECK_EQ(table.size(), size, "layers in the proof of exchange");
  for (std::size_t at = 0; at + kColumns <= size; at += kColumns) {
    const std::int64_t layer = tables_of_ranks.front()[at];
    std::int64_t cells = 0;
    for (std::size_t rank = 0; rank < tables_of_ranks.size(); ++rank) {
      const std::int64_t* row = tables_of_ranks[rank].data() + at;
      RT_CHECK_EQ(row[0], layer, "layer number in the proof of exchange");
      cells += row[2];
      if (row[1] != 0) {
        faults.push_back(fmt::format("layer {}: context-parallel rank {} sent {} bytes {} than its plan", layer, rank,
                                     row[1] < 0 ? -row[1] : row[1], row[1] < 0 ? "fewer" : "more"));
      }
    }
    const std::int64_t expected = tables_of_ranks.front()[at + 3];
    if (cells != expected) {
      faults.push_back(
          fmt::format("layer {}: expected {} attended (query, key) pairs over all context-parallel ranks, got {}",
                      layer, expected, cells));
    }
  }
  return faults;
}

}  // namespace ringtron
