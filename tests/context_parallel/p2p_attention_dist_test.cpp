// The ring against the reference, each rank a process, over Gloo.
#include "ringtron/comm/counting_communicator.h"
#include "ringtron/context_parallel/plan_check.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::Results;

DIST_TEST(P2pAttentionProcesses, MatchesReference, 1, 2, 3, 4) {
  const SequenceLayout layout = zigzag_layout(48, ranks.size());
  for (const testing::CaseSizes& sizes : testing::parity_cases()) {
    const AttentionCase c = testing::make_case(sizes);
    const Results expected = testing::reference_results(c);
    const Results got = testing::ring_results(c, layout, ranks.world());
    for (int i = 0; i < 4; ++i) {
      EXPECT_TENSOR_NEAR(got[i], testing::shard(expected[i], layout, ranks.rank()),
                         testing::kFp64ReorderTolerance)
          << testing::kResultNames[i];
    }
  }
}

DIST_TEST(P2pAttentionProcesses, SameBitsEveryTime, 4) {
  const SequenceLayout layout = zigzag_layout(48, ranks.size());
  const AttentionCase c = testing::make_case({});
  const Results first = testing::ring_results(c, layout, ranks.world(), at::kFloat);
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Results again = testing::ring_results(c, layout, ranks.world(), at::kFloat);
    for (int i = 0; i < 4; ++i) EXPECT_TENSOR_EQUAL(again[i], first[i]);
  }
}

DIST_TEST(P2pAttentionProcesses, SendsTheBytesOfTheClosedForm, 1, 2, 4) {
  const testing::CaseSizes sizes;
  CountingCommunicator counting(ranks.world());
  testing::ring_results(make_case(sizes), zigzag_layout(48, ranks.size()), counting, at::kBFloat16);
  const std::int64_t elements = 2 * (48 / ranks.size()) * sizes.batch * sizes.groups * sizes.head_size;
  EXPECT_EQ(counting.counts().exchange.bytes,
            p2p_bytes_closed_form(ranks.size(), 2 * elements, 4 * elements));
  EXPECT_EQ(counting.counts().total_bytes(), counting.counts().exchange.bytes);
  EXPECT_EQ(counting.counts().exchange.calls, ranks.size() == 1 ? 0 : 2 * ranks.size() - 1);
}

// Negative control: rank 1 reads one chunk of keys from the wrong place; some rank must see it.
DIST_TEST(P2pAttentionControl, TwoChunksSwapped, 2, 4) {
  const SequenceLayout layout = zigzag_layout(48, ranks.size());
  AttentionCase c = testing::make_case({});
  const Results expected = testing::reference_results(c);
  if (ranks.rank() == 1) {
    const std::int64_t size = 48 / layout.chunk_count();
    c.k = at::cat({c.k.narrow(0, 0, size), c.k.narrow(0, 48 - 2 * size, size),
                   c.k.narrow(0, 2 * size, 48 - 4 * size), c.k.narrow(0, size, size),
                   c.k.narrow(0, 48 - size, size)});
  }
  const Results got = testing::ring_results(c, layout, ranks.world());
  at::Tensor wrong = at::zeros({1});
  for (int i = 0; i < 4; ++i) {
    if (!testing::tensor_near(got[i], testing::shard(expected[i], layout, ranks.rank()), 1e-6))
      wrong.fill_(1);
  }
  ranks.world().all_reduce(wrong).wait();
  EXPECT_GE(wrong.item<float>(), 1.0f);
}

}  // namespace
}  // namespace ringtron
