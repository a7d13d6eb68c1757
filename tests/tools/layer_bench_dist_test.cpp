#include "ringtron/tools/profile/layer_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>

#include "ringtron/tools/profile/trace_recorder.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

LayerSetup small_layer(int ranks, std::int64_t length, std::vector<std::int64_t> documents = {}) {
  LayerSetup layer;
  layer.shape = {1, 4, 2, 8, 8, 4, 4};
  layer.call.shape = std::make_shared<const SequenceShape>(SequenceShape{
      zigzag_layout(length, ranks), documents.empty() ? std::vector<std::vector<std::int64_t>>()
                                                      : std::vector<std::vector<std::int64_t>>{documents}});
  return layer;
}

TEST(EqualWork, IsAPrefixWithTheShareOfTheCells) {
  const LayerSetup layer = small_layer(4, 8192);
  const LayerSetup one = equal_work_of_one_rank(layer);
  EXPECT_EQ(one.layout().ranks(), 1);
  EXPECT_NEAR(static_cast<double>(one.layout().sequence_length()), 4096,
              128);  // half the length, a quarter of the cells
  EXPECT_NEAR(one.cells(), layer.cells() / 4, 0.02 * layer.cells());
}

TEST(EqualWork, OfDocumentsIsAShareOfTheDocuments) {
  std::vector<std::int64_t> starts;
  for (std::int64_t at = 0; at < 8192; at += 64) starts.push_back(at);
  const LayerSetup one = equal_work_of_one_rank(small_layer(4, 8192, starts));
  EXPECT_EQ(one.layout().sequence_length(), 2048);
  EXPECT_EQ(one.call.shape->document_starts.at(0).size(), 32u);
}

DIST_TEST(LayerBench, SendsThePlannedBytesAndNoneWhereExchangeIsSkipped, 1, 2, 4) {
  Communicator& comm = ranks.world();
  for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
    LayerSetup layer = small_layer(ranks.size(), 64);
    layer.call.transport = transport;
    const auto masks = layer.masks();
    const TransportPlan plan = make_transport_plan(transport, 1, {layer.layout(), masks}, ranks.rank());
    const TransportBytes planned = bytes_of(plan, layer.layout(), layer.shape, ranks.rank());
    EXPECT_EQ(LayerBench(comm, layer, {}).count_bytes(), planned.forward + planned.backward)
        << to_text(transport);
    CpAttentionOptions silent;
    silent.fault = CpFault::skip_exchange;
    EXPECT_EQ(LayerBench(comm, layer, silent).count_bytes(), 0) << to_text(transport);
    const auto seconds = LayerBench(comm, layer, {}).time_steps({1, 3});
    EXPECT_EQ(seconds.size(), 3u);
    for (const double second : seconds) EXPECT_GT(second, 0.0);
    const auto transfers = transfers_of(plan, layer.layout(), layer.shape, ranks.rank());
    EXPECT_EQ(time_transfers(comm, transfers, at::kCPU, {1, 2}).size(), ranks.size() == 1 ? 1u : 2u);
  }
}

DIST_TEST(LayerBench, TellsOfEachStepWarmupIncluded, 1, 2) {
  Communicator& comm = ranks.world();
  const LayerSetup layer = small_layer(ranks.size(), 64);
  std::vector<int> told;
  const Repeats repeats{2, 3, [&](int done) { told.push_back(done); }};
  const std::vector<int> each = {1, 2, 3, 4, 5};
  LayerBench bench(comm, layer, {});
  bench.time_steps(repeats);
  EXPECT_EQ(told, each);
  told.clear();
  bench.time_forward(repeats);
  EXPECT_EQ(told, each);
  told.clear();
  time_transfers(comm, {{}}, at::kCPU, repeats);
  EXPECT_EQ(told, each);
}

DIST_TEST(TraceRecorder, EveryStepHasItsExchangeAttendAndMerge, 2) {
  LayerSetup layer = small_layer(ranks.size(), 64);
  const auto masks = layer.masks();
  const TransportPlan plan = make_transport_plan(CpTransport::p2p, 1, {layer.layout(), masks}, ranks.rank());
  TraceRecorder recorder(at::kCPU, plan);
  CpAttentionOptions options;
  options.observer = &recorder;
  LayerBench bench(ranks.world(), layer, options);
  bench.run_once(recorder);
  const std::vector<TraceEvent> events = recorder.take();
  const auto steps_of = [&](const std::string& name, const std::string& pass) {
    std::set<int> steps;
    for (const TraceEvent& e : events) {
      EXPECT_GE(e.begin, 0.0);
      EXPECT_GE(e.duration, 0.0);
      if (e.name == name && e.pass == pass) steps.insert(e.step);
    }
    return steps;
  };
  EXPECT_EQ(steps_of("attend", "forward"), (std::set<int>{0, 1}));
  EXPECT_EQ(steps_of("merge", "forward"), (std::set<int>{0, 1}));
  EXPECT_EQ(steps_of("exchange", "forward"), (std::set<int>{0}));  // two ranks: one hop
  EXPECT_EQ(steps_of("attend", "backward"), (std::set<int>{0, 2}));  // step 1 is a filler
  EXPECT_EQ(steps_of("exchange", "backward"), (std::set<int>{0, 2}));
  EXPECT_EQ(steps_of("forward", "forward"), (std::set<int>{-1}));
}

DIST_TEST(TraceRecorder, ExchangesOfHeadsAreOnTheWireFromTheirStartToTheirWait, 2) {
  LayerSetup layer = small_layer(ranks.size(), 64);
  layer.call.transport = CpTransport::a2a;
  layer.shape.groups = 4;  // so that each rank's heads divide by two
  const auto masks = layer.masks();
  const TransportPlan plan = make_transport_plan(CpTransport::a2a, 1, {layer.layout(), masks}, ranks.rank());
  for (const int groups : {1, 2}) {
    TraceRecorder recorder(at::kCPU, plan);
    CpAttentionOptions options;
    options.observer = &recorder;
    options.head_groups = groups;
    LayerBench(ranks.world(), layer, options).run_once(recorder);
    std::vector<double> starts, ends, sent, arrived;  // of the packing, the waits and the exchanges
    for (const TraceEvent& e : recorder.take()) {
      if (e.name == "to heads" || e.name == "to sequence") starts.push_back(e.begin + e.duration);
      if (e.name == "wait" && e.step == -1) ends.push_back(e.begin + e.duration);
      if (e.name != "exchange") continue;
      EXPECT_EQ(e.lane, 1);
      sent.push_back(e.begin);
      arrived.push_back(e.begin + e.duration);
    }
    for (auto* times : {&starts, &ends, &sent, &arrived}) std::sort(times->begin(), times->end());
    ASSERT_EQ(sent.size(), 4u * static_cast<std::size_t>(groups));  // there and back in both passes
    ASSERT_EQ(starts.size(), sent.size());
    ASSERT_EQ(ends.size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
      EXPECT_NEAR(sent[i], starts[i], 1e-12);
      EXPECT_NEAR(arrived[i], ends[i], 1e-12);
    }
  }
}

}  // namespace
}  // namespace ringtron
