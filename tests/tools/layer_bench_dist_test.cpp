#include "ringtron/tools/profile/layer_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>

#include "ringtron/context_parallel/schedule/lower.h"
#include "ringtron/tools/faults/silent_communicator.h"
#include "ringtron/tools/profile/trace_recorder.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

RankSchedules schedules_of(const LayerSetup& layer, int rank) {
  const auto masks = layer.masks();
  const SequenceLayout& layout = layer.layout();
  return lower(make_transport_plan(layer.call.transport, 1, {layout, masks}, rank),
               {layer.shape.heads, layer.shape.groups});
}

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
    const RankSchedules schedules = schedules_of(layer, ranks.rank());
    const TransportBytes planned = bytes_of(schedules, layer.layout(), ranks.rank(), layer.shape);
    EXPECT_EQ(LayerBench(comm, layer, {}).count_bytes(), planned.forward + planned.backward) << to_text(transport);
    CpAttentionOptions silent;
    silent.decorate = [](Communicator& group) { return std::make_unique<SilentCommunicator>(group); };
    EXPECT_EQ(LayerBench(comm, layer, silent).count_bytes(), 0) << to_text(transport);
    const auto seconds = LayerBench(comm, layer, {}).time_steps({1, 3});
    EXPECT_EQ(seconds.size(), 3u);
    for (const double second : seconds) EXPECT_GT(second, 0.0);
    const auto transfers = exchanges_of(schedules.forward, layer.layout(), ranks.rank(), layer.shape);
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
  TraceRecorder recorder(at::kCPU, schedules_of(layer, ranks.rank()));
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
  EXPECT_EQ(steps_of("attend", "backward"), (std::set<int>{0, 1}));
  EXPECT_EQ(steps_of("exchange", "backward"), (std::set<int>{0, 1}));
  EXPECT_EQ(steps_of("forward", "forward"), (std::set<int>{-1}));
}

DIST_TEST(TraceRecorder, ExchangesOfHeadsAreOnTheWire, 2) {
  LayerSetup layer = small_layer(ranks.size(), 64);
  layer.call.transport = CpTransport::a2a;
  TraceRecorder recorder(at::kCPU, schedules_of(layer, ranks.rank()));
  CpAttentionOptions options;
  options.observer = &recorder;
  LayerBench(ranks.world(), layer, options).run_once(recorder);
  int on_wire = 0;
  for (const TraceEvent& e : recorder.take()) {
    if (e.name != "exchange") continue;
    EXPECT_EQ(e.lane, 1);
    EXPECT_EQ(e.step, -1);
    ++on_wire;
  }
  EXPECT_EQ(on_wire, 4);  // there and back in both passes
}

}  // namespace
}  // namespace ringtron
