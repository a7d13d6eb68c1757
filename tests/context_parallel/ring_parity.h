// Runs a case on all ranks of a ring of threads and compares what they have together with the whole.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "tests/context_parallel/attention_case.h"
#include "tests/context_parallel/thread_ring.h"
#include "tests/support/tensor_near.h"

namespace ringtron::testing {

// Results of all ranks, by rank.
inline std::vector<Results> run_ring(const AttentionCase& c, const SequenceLayout& layout,
                                     at::ScalarType type = at::kDouble) {
  std::vector<Results> all(static_cast<std::size_t>(layout.ranks()));
  ThreadRing(layout.ranks()).run([&](Communicator& comm) {
    all[static_cast<std::size_t>(comm.rank())] = ring_results(c, layout, comm, type);
  });
  return all;
}

// Puts rows at their positions and adds up shares; fp64.
inline Results whole_of(const std::vector<Results>& ranks, const SequenceLayout& layout) {
  Results whole;
  for (std::size_t i = 0; i < ranks.front().size(); ++i) {
    if (i == kSinkResult) {
      whole.push_back(at::zeros(ranks.front()[i].sizes(), at::kDouble));
      for (const Results& results : ranks) whole.back().add_(results.at(i));
      continue;
    }
    std::vector<std::int64_t> sizes = ranks.front()[i].sizes().vec();
    sizes[0] = layout.sequence_length();
    whole.push_back(at::full(sizes, std::numeric_limits<double>::quiet_NaN(), at::kDouble));
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      const at::Tensor& rows = ranks[static_cast<std::size_t>(rank)].at(i);
      RT_CHECK_EQ(rows.size(0), layout.local_length(rank), "rows of a result");
      std::int64_t row = 0;
      for (const PositionRange& range : layout.of(rank)) {
        whole.back().narrow(0, range.begin, range.length()).copy_(rows.narrow(0, row, range.length()));
        row += range.length();
      }
    }
  }
  return whole;
}

// Where results differ from the expected ones by more than `tolerance` times the largest expected number of
// the same tensor; empty when nowhere.
inline std::string differences(const Results& got, const Results& expected, double tolerance) {
  if (got.size() != expected.size()) return "another number of results";
  std::string text;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto near = tensor_near(got[i], expected[i], tolerance);
    if (!near) text += std::string(kResultNames[i]) + ": " + near.message() + "\n";
  }
  return text;
}

inline std::string differences(const std::vector<Results>& ranks, const Results& expected, const SequenceLayout& layout,
                               double tolerance) {
  return differences(whole_of(ranks, layout), expected, tolerance);
}

}  // namespace ringtron::testing
