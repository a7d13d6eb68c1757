// Negative controls of cp_attention_test.cpp: under every transport the comparison with the reference must
// see each of these faults.
#include <gtest/gtest.h>

#include "tests/context_parallel/over_transport.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using testing::Results;

class CpAttentionControl : public testing::OverTransport {
 protected:
  // Whether `broken` on 4 ranks is told from what `sound` should give.
  static bool is_seen(const CaseSizes& sound, const AttentionCase& broken) {
    const SequenceLayout layout = testing::layout_of(sound, 4);
    const AttentionCase c = testing::make_case(over(sound, 4));
    const Results expected = testing::reference_results(c);
    EXPECT_EQ(testing::differences(testing::run_ring(c, layout), expected, layout, 1e-6), "");
    return !testing::differences(testing::run_ring(broken, layout), expected, layout, 1e-6).empty();
  }
  static bool is_seen(const CaseSizes& sound, CpFault fault) {
    AttentionCase broken = testing::make_case(over(sound, 4));
    broken.fault = fault;
    return is_seen(sound, broken);
  }
};

INSTANTIATE_TEST_SUITE_P(Transports, CpAttentionControl, ::testing::ValuesIn(cp_transports()), testing::transport_name);

TEST_P(CpAttentionControl, SwappedChunks) { EXPECT_TRUE(is_seen({}, CpFault::swap_chunks)); }

TEST_P(CpAttentionControl, DroppedMerge) { EXPECT_TRUE(is_seen({}, CpFault::drop_merge)); }

TEST_P(CpAttentionControl, SkippedExchange) { EXPECT_TRUE(is_seen({}, CpFault::skip_exchange)); }

TEST_P(CpAttentionControl, BlockAttendedTwice) { EXPECT_TRUE(is_seen({}, CpFault::double_count)); }

TEST_P(CpAttentionControl, FaultOfAnotherLayerDoesNotAct) {
  AttentionCase elsewhere = testing::make_case(over({}, 4));
  elsewhere.fault = CpFault::drop_merge;
  elsewhere.fault_layer = 3;
  EXPECT_FALSE(is_seen({}, elsewhere));
  elsewhere.call.layer = 3;
  EXPECT_TRUE(is_seen({}, elsewhere));
}

TEST_P(CpAttentionControl, DocumentsIgnored) {
  const CaseSizes sound{.documents = {{20}, {}}};
  CaseSizes broken = sound;
  broken.documents = {{}, {}};
  EXPECT_TRUE(is_seen(sound, testing::make_case(over(broken, 4))));
}

TEST_P(CpAttentionControl, DocumentsOneTokenOff) {
  const CaseSizes sound{.documents = {{20}, {}}};
  CaseSizes broken = sound;
  broken.documents = {{21}, {}};
  EXPECT_TRUE(is_seen(sound, testing::make_case(over(broken, 4))));
}

TEST_P(CpAttentionControl, WindowOneTokenOff) {
  const CaseSizes sound{.window = {.left = 12}};
  EXPECT_TRUE(is_seen(sound, testing::make_case(over({.window = {.left = 11}}, 4))));
}

TEST_P(CpAttentionControl, SinkIgnored) {
  const CaseSizes sound{.softmax = SoftmaxKind::off_by_one};
  EXPECT_TRUE(is_seen(sound, testing::make_case(over({}, 4))));
}

TEST_P(CpAttentionControl, AnotherDropoutKey) {
  const CaseSizes sound{.dropout = 0.2};
  AttentionCase broken = testing::make_case(over(sound, 4));
  ++broken.call.dropout->key;
  EXPECT_TRUE(is_seen(sound, broken));
}

}  // namespace
}  // namespace ringtron
