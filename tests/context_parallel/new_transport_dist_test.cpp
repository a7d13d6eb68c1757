// A transport is one function and one row. This one, a ring that turns both ways at once, stands nowhere
// under src/: it is proven, priced, verified and trained with.
#include <gmock/gmock.h>

#include "ringtron/context_parallel/schedule/schedule_check.h"
#include "ringtron/context_parallel/schedule/transport_choice.h"
#include "ringtron/tools/verify/shrink_config.h"
#include "ringtron/tools/verify/training_trace.h"
#include "tests/context_parallel/ring_parity.h"
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

// Each block goes to both neighbours and on: half of a ring's hops. Gradients go straight home.
ExchangePlan both_ways(const PlanRequest& request, int rank, bool backward) {
  const int n = request.layout.ranks();
  const auto at = [&](int distance) { return ((rank + distance) % n + n) % n; };
  ExchangePlan plan{rank, {}};
  for (int i = 0; i <= n / 2 + (backward && n > 1 ? 1 : 0); ++i) {
    Step step;
    const auto exchange = [&](Payload payload, int to, int sent, int received) {
      append_block(step.sends, at(to), payload, at(sent), request.layout);
      append_block(step.receives, at(-to), payload, at(received), request.layout);
      step.communicates = true;
    };
    for (const int way : {1, -1}) {
      // Where the ranks are even, the farthest block comes one way only.
      const auto comes = [&](int hops) { return hops > 0 && (way > 0 ? 2 * hops <= n : 2 * hops < n); };
      if (comes(i) || (i == 0 && way > 0)) {
        for (const BlockTask& task : tasks_between(request, rank, at(-way * i))) step.tasks.push_back(task);
      }
      if (comes(i + 1)) exchange(Payload::key_value, way, -way * i, -way * (i + 1));
      if (backward && comes(i - 1)) exchange(Payload::key_value_gradient, -way * (i - 1), -way * (i - 1), 0);
    }
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

RankPlan plan_both_ways(const PlanRequest& request, int rank) {
  return {both_ways(request, rank, false), both_ways(request, rank, true), rank};
}

const TransportRow kRow = {.name = {"both_ways", {"two-way"}}, .plan = plan_both_ways, .held = HeldBlocks{4, 7}};
const CpTransport kBothWays = add_transport(kRow);

using Masks = std::vector<AttentionMask>;

TEST(NewTransport, ItsSchedulesAreProven) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (const std::int64_t length : {1, 7, 2 * ranks, 6 * ranks + 1, 64}) {
      const Masks window = {{length, true, {length / 5, -1}}};
      const Masks documents = {{length, true, {}, {length / 3}}, {length, true, {}, {length / 2}}};
      for (const Masks& masks : {Masks{{length, true}}, Masks{{length, false}}, window, documents}) {
        for (const CpLayout division : {CpLayout::zigzag, CpLayout::contiguous, CpLayout::balanced}) {
          const SequenceLayout layout = make_layout(division, masks, ranks);
          ASSERT_THAT(check_transport({layout, masks}, kBothWays, 0, 2 * ranks, ranks).faults, IsEmpty())
              << ranks << " " << length << " " << layout.name();
          auto damaged = make_schedules({layout, masks}, kBothWays, 0, {2, 2});
          if (layout.local_length(0) == 0) continue;
          damaged[0].forward.operations.clear();
          ASSERT_THAT(check_schedules(damaged, {layout, masks}), Not(IsEmpty()));
        }
      }
    }
  }
}

TEST(NewTransport, AutoPricesIt) {
  const Masks masks = {{16384, true}};
  const SequenceLayout layout = zigzag_layout(16384, 8);
  DeviceSpeeds speeds = default_gpu_speeds();
  speeds.link.seconds_per_exchange = 1e-3;  // of which it has fewer than a ring
  const TransportChoice choice = choose_transport({{layout, masks}, {1, 32, 8, 128, 128, 2, 4}, 0, speeds});
  EXPECT_EQ(choice.of(kBothWays).bytes, choice.of(CpTransport::p2p).bytes);
  EXPECT_LT(choice.of(kBothWays).seconds, choice.of(CpTransport::p2p).seconds);
  EXPECT_NE(to_string(choice).find("both_ways"), std::string::npos);
}

TEST(NewTransport, AttentionIsThatOfOneProcess) {
  for (const auto& cases : {parity_cases(), masked_cases()}) {
    for (const CaseSizes& sizes : over(kBothWays, cases)) {
      for (const int ranks : {1, 2, 3, 4}) {
        const AttentionCase c = make_case(sizes);
        const SequenceLayout layout = layout_of(sizes, ranks);
        EXPECT_EQ(differences(run_ring(c, layout), reference_results(c), layout, kFp64ReorderTolerance), "");
      }
    }
  }
}

DIST_TEST(NewTransportOverRanks, TrainsAsOneProcess, 4) {
  const std::vector<Way> ways = {{{1, 4, 1, false, 4}, "--cp-comm-type both_ways"},
                                 {{2, 2, 1, true, 4}, "--cp-comm-type two-way p2p"}};
  expect_parity_of_ways(ranks, {"both ways", fmt::format("{} --reset-attention-mask", kLlamaLike)}, ways, 0);
}

// What verify_cp does with such a command line, and with --inject.
DIST_TEST(NewTransportOverRanks, VerifyCpAcceptsIt, 4) {
  const std::string flags = fmt::format("{} --cp-comm-type two-way", kLlamaLike);
  const Config small = shrink_config(toy_config({1, 4, 1, false, 4}, "none", flags), 4, false).config;
  EXPECT_EQ(small.parallel.cp_comm_type.front(), "both_ways");
  const Job alone(one_process(small), LaunchEnvironment{});
  const TrainingTrace expected = trace_training(alone, CpFault::none, [](int) {});
  ToyTraining run(ranks, 0, small);
  const auto same = [&](CpFault fault) {
    return compare_traces(expected, trace_training(run.job(), fault, [](int) {}), 1e-10).within(1e-10);
  };
  EXPECT_TRUE(same(CpFault::none));
  EXPECT_FALSE(same(CpFault::skip_exchange));
}

}  // namespace
}  // namespace ringtron::testing
