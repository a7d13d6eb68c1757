// What `auto` calls impossible is what attention refuses, and nothing else: all transports, heads, groups and ranks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "ringtron/context_parallel/schedule/transport_choice.h"
#include "tests/context_parallel/ring_parity.h"

namespace ringtron {
namespace {

using testing::CaseSizes;

std::string refusal(const CaseSizes& sizes, const SequenceLayout& layout, int hierarchical_a) {
  const DeviceSpeeds speeds = default_cpu_speeds();
  const AttentionShape shape{sizes.batch, sizes.heads, sizes.groups, sizes.head_size, sizes.head_size};
  const std::vector masks = {AttentionMask(sizes.sequence, /*causal=*/true, {})};
  return predict_transport(sizes.transport, {{layout, masks}, shape, hierarchical_a, speeds}).refusal;
}

// Whether all ranks get the right numbers.
bool runs(const CaseSizes& sizes, const SequenceLayout& layout, int hierarchical_a) {
  testing::AttentionCase c = testing::make_case(sizes);
  c.options.hierarchical_a = hierarchical_a;
  try {
    return testing::differences(testing::run_ring(c, layout), testing::reference_results(c), layout,
                                testing::kFp64ReorderTolerance)
        .empty();
  } catch (const ConfigError&) {
    return false;
  }
}

TEST(TransportHints, AreWhatAttentionRefuses) {
  int refused = 0, few_heads = 0;
  for (const CpTransport transport : cp_transports()) {
    for (const int ranks : {1, 2, 3, 4, 6}) {
      for (const std::pair<int, int>& heads :
           {std::pair{1, 1}, {2, 1}, {2, 2}, {3, 3}, {4, 1}, {4, 2}, {5, 5}, {8, 4}}) {
        const bool levels = transport == CpTransport::hierarchical;
        for (const int a : levels ? std::vector{0, 1, 2, ranks} : std::vector{0}) {
          if (a != 0 && ranks % a != 0) continue;  // refused with the flags, whatever the transport
          const CaseSizes sizes{.sequence = 4 * ranks,
                                .batch = 1,
                                .heads = heads.first,
                                .groups = heads.second,
                                .head_size = 3,
                                .transport = transport};
          const SequenceLayout layout = testing::layout_of(sizes, ranks);
          const std::string why = refusal(sizes, layout, a);
          EXPECT_EQ(why.empty(), runs(sizes, layout, a))
              << fmt::format("{}, {} ranks, {} heads, {} groups, A {}: '{}'", to_text(transport), ranks, heads.first,
                             heads.second, a, why);
          refused += why.empty() ? 0 : 1;
          few_heads += transport == CpTransport::a2a && heads.first < ranks ? 1 : 0;
        }
      }
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(few_heads, 10);
}

}  // namespace
}  // namespace ringtron
