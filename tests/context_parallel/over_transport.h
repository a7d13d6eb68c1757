// Tests that every transport must pass, each once per transport:
//
//   class Ring : public testing::OverTransport {};
//   INSTANTIATE_TEST_SUITE_P(Transports, Ring, ::testing::ValuesIn(cp_transports()), testing::transport_name);
//   TEST_P(Ring, LengthOne) { expect_parity({.sequence = 1}, 4); }
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/context_parallel/ring_parity.h"

namespace ringtron::testing {

inline std::string transport_name(const ::testing::TestParamInfo<CpTransport>& info) {
  return info.param == CpTransport::hierarchical ? "hierarchical" : std::string(to_text(info.param));
}

// Everything that all transports must do. a2a+p2p shares heads in pairs where the ranks are even, else all of
// them do.
class OverTransport : public ::testing::TestWithParam<CpTransport> {
 protected:
  static int head_ranks(int ranks) { return ranks % 2 == 0 ? 2 : ranks; }

  static CaseSizes over(CaseSizes sizes, int ranks) {
    return ringtron::testing::over(GetParam(), {std::move(sizes)}, head_ranks(ranks)).front();
  }

  static void expect_parity(const CaseSizes& sizes, const SequenceLayout& layout) {
    const AttentionCase c = make_case(over(sizes, layout.ranks()));
    EXPECT_EQ(differences(run_ring(c, layout), reference_results(c), layout, kFp64ReorderTolerance), "")
        << layout.ranks() << " ranks, " << layout.name() << ", length " << sizes.sequence;
  }
  static void expect_parity(const CaseSizes& sizes, int ranks) { expect_parity(sizes, layout_of(sizes, ranks)); }
};

}  // namespace ringtron::testing
