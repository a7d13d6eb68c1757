#include "ringtron/context_parallel/schedule/transport_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ringtron/base/random.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/schedule/lower.h"

namespace ringtron {
namespace {

// What a choice is made from, kept alive: a request refers to its layout and masks.
struct Case {
  std::int64_t length = 16384;
  int ranks = 2;
  std::int64_t heads = 32, groups = 32;
  bool causal = true;
  AttentionWindow window = {};
  std::vector<std::int64_t> document_starts = {};
  CpLayout layout = CpLayout::zigzag;
  int hierarchical_a = 0;
  DeviceSpeeds speeds = default_gpu_speeds();
  bool host_is_fast = true;

  TransportChoice choose() const {
    const std::vector<AttentionMask> masks = {AttentionMask(length, causal, window, document_starts)};
    const SequenceLayout cut = make_layout(layout, masks, ranks);
    return choose_transport({{cut, masks},
                             shape(),
                             hierarchical_a,
                             {speeds.link, speeds.attention, host_is_fast ? HostSpeed{} : speeds.host}});
  }
  AttentionShape shape() const { return {1, heads, groups, 128, 128, 2, 4}; }
};

const TransportPrediction& of(const TransportChoice& choice, CpTransport transport) { return choice.of(transport); }

TEST(TransportChoice, ALongSequenceGoesRoundTheRingWithoutExposedTransfer) {
  const TransportChoice choice = Case{.length = 1 << 20, .ranks = 8, .groups = 16}.choose();
  EXPECT_EQ(choice.transport, CpTransport::p2p);
  const TransportPrediction& ring = of(choice, CpTransport::p2p);
  EXPECT_LT(ring.exposed_seconds(), 0.01 * ring.seconds);
  EXPECT_EQ(choice.reason, "within 2% of the fastest, of these it holds least in memory");
}

TEST(TransportChoice, ARingWhoseHopsHideSaysSo) {
  // Under a2a half of the ranks would have no head, and putting the whole sequence in order costs.
  Case c{.length = 1 << 22, .ranks = 8, .heads = 4, .groups = 4};
  c.speeds.attention.copy_bytes_per_second = 1e10;
  const TransportChoice choice = c.choose();
  EXPECT_EQ(choice.transport, CpTransport::p2p);
  EXPECT_EQ(choice.reason, "ring hop hides behind attention");
}

// The second of a rank's ranges is computed while the gradients of the others' keys go home. A rank with one range has
// nothing left by then.
TEST(TransportChoice, TheWayHomeOfAGatherHidesBehindTheSecondRange) {
  const auto exposed = [](std::int64_t groups, CpLayout layout) {
    const Case c{.length = 65536, .ranks = 4, .groups = groups, .layout = layout};
    return of(c.choose(), CpTransport::all_gather).exposed_seconds();
  };
  for (const std::int64_t groups : {1, 8, 16}) {
    EXPECT_EQ(exposed(groups, CpLayout::zigzag), 0) << groups;
    EXPECT_GT(exposed(groups, CpLayout::contiguous), 0) << groups;
  }
}

// The ring has three exchanges and four calls, a2a four and two.
TEST(TransportChoice, AShortSequenceTakesTheHostsTime) {
  Case c{.length = 2048, .groups = 4};
  EXPECT_EQ(c.choose().transport, CpTransport::p2p);
  c.host_is_fast = false;
  c.speeds.host = {1e-3, 10e-3, 5e-3};
  const TransportChoice slow = c.choose();
  EXPECT_EQ(slow.transport, CpTransport::a2a);
  EXPECT_EQ(slow.reason, "so short that the host's calls are the bound, of which it needs least");
  EXPECT_DOUBLE_EQ(of(slow, CpTransport::a2a).seconds, 2 * 1e-3 + 2 * 10e-3 + 4 * 5e-3);
  EXPECT_DOUBLE_EQ(of(slow, CpTransport::p2p).seconds, 2 * 1e-3 + 4 * 10e-3 + 3 * 5e-3);
  EXPECT_EQ(of(slow, CpTransport::p2p).exposed_seconds(), 0);
  c.speeds.host = {1e-6, 1e-6, 1e-6};
  EXPECT_EQ(c.choose().transport, CpTransport::p2p);
}

// As measured (docs/benchmarks.md).
TEST(TransportChoice, OfAGpuShortSequencesExchangeHeadsAndLongOnesGoRound) {
  for (const std::int64_t groups : {32, 4}) {
    EXPECT_EQ((Case{.length = 2 * 1024, .groups = groups, .host_is_fast = false}).choose().transport, CpTransport::a2a);
    EXPECT_EQ((Case{.length = 2 * 8192, .groups = groups, .host_is_fast = false}).choose().transport, CpTransport::p2p);
  }
}

TEST(TransportChoice, AttentionOfOneRankIsTheMasksAreaAtTheGivenRate) {
  Case c{.length = 4096, .ranks = 1};
  c.speeds.attention = {1e12, 2e12, 0.0, 1e30};
  const TransportChoice choice = c.choose();
  const double cells = 32.0 * 4096.0 * 4097.0 / 2.0;
  // Two products of the forward, five of the backward, each 2 x 128 operations a cell.
  EXPECT_NEAR(of(choice, CpTransport::p2p).seconds, cells * 2 * 128 * (2 / 1e12 + 5 / 2e12), 1e-12);
  EXPECT_EQ(choice.reason, "one rank, nothing travels");
  for (const TransportPrediction& p : choice.predictions) EXPECT_EQ(p.bytes, 0) << to_text(p.transport);
}

TEST(TransportChoice, BytesAreThoseOfTheClosedForm) {
  const Case c{.length = 4096, .ranks = 4, .groups = 8, .hierarchical_a = 2};
  const TransportChoice choice = c.choose();
  for (const CpTransport transport : cp_transports()) {
    const TransportBytes bytes = closed_form_bytes(4, head_ranks_of(transport, 4, 2), c.length, c.shape());
    EXPECT_EQ(of(choice, transport).bytes, bytes.forward + bytes.backward) << to_text(transport);
  }
}

// A faster link never makes any transport slower, and nothing is faster than its attention.
TEST(TransportChoice, TimeFallsWithTheLinksSpeed) {
  for (const CpTransport transport : cp_transports()) {
    double before = 1e30;
    for (const double speed : {1e9, 1e10, 1e11, 1e12}) {
      Case c{.length = 16384, .ranks = 8, .hierarchical_a = 2};
      c.speeds.link.bytes_per_second = speed;
      const TransportChoice choice = c.choose();
      const TransportPrediction& p = of(choice, transport);
      EXPECT_LE(p.seconds, before) << to_text(transport) << " at " << speed;
      EXPECT_GE(p.exposed_seconds(), 0.0) << to_text(transport);
      EXPECT_LE(p.exposed_seconds(), p.transfer_seconds + 1e-12) << to_text(transport);
      before = p.seconds;
    }
  }
}

TEST(TransportChoice, TimeGrowsWithTheSequence) {
  for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
    double before = 0;
    for (const std::int64_t length : {1024, 4096, 16384, 65536}) {
      const double seconds = of(Case{.length = length, .ranks = 4}.choose(), transport).seconds;
      EXPECT_GT(seconds, before) << to_text(transport) << " at " << length;
      before = seconds;
    }
  }
}

// A link on which a hop costs more than attention: few exchanges win over many.
TEST(TransportChoice, AShortSequenceOnASlowLinkDoesNotTakeTheRing) {
  Case c{.length = 2048, .ranks = 16};
  c.speeds.link.seconds_per_exchange = 1e-3;
  EXPECT_NE(c.choose().transport, CpTransport::p2p);
}

TEST(TransportChoice, HeadsAreExchangedWhereThatIsLessToSend) {
  // Multi-head attention over many ranks: the ring sends everything n-1 times, a2a once, and the link is
  // slow.
  Case c{.length = 32768, .ranks = 16};
  c.speeds.link.bytes_per_second = 5e9;
  const TransportChoice choice = c.choose();
  EXPECT_EQ(choice.transport, CpTransport::a2a);
  EXPECT_NE(choice.reason.find("where the ring sends"), std::string::npos) << choice.reason;
}

// Ranks without a head only wait: a2a takes as long as with one head each, and that is its price.
TEST(TransportChoice, FewerHeadsThanRanksAreAPriceNoObstacle) {
  Case full{.length = 32768, .ranks = 4, .heads = 4, .groups = 4}, few = full;
  few.heads = few.groups = 2;
  const TransportChoice choice = few.choose();
  EXPECT_EQ(of(choice, CpTransport::a2a).refusal, "");
  EXPECT_NEAR(of(choice, CpTransport::a2a).attention_seconds, of(full.choose(), CpTransport::a2a).attention_seconds,
              0.02 * of(choice, CpTransport::a2a).attention_seconds);
  EXPECT_EQ(to_string(choice).find("not a2a"), std::string::npos) << to_string(choice);
}

// Where an exchange costs much, the four of a2a cost less than a ring's many, also with heads on some ranks only.
TEST(TransportChoice, FewHeadsGoByA2aWhereThatIsFastest) {
  Case c{.length = 256, .ranks = 4, .heads = 2, .groups = 2};
  c.speeds.link.seconds_per_exchange = 1e-2;
  c.speeds.link.hidden_share = 0.0;
  const TransportChoice choice = c.choose();
  EXPECT_LT(of(choice, CpTransport::a2a).seconds, of(choice, CpTransport::p2p).seconds);
  for (const CpTransport other : cp_transports()) {
    if (of(choice, other).refusal.empty()) {
      EXPECT_LE(of(choice, choice.transport).seconds, 1.02 * of(choice, other).seconds);
    }
  }
}

TEST(TransportChoice, HeadsThatDoNotDivideCostTheSlowestRanksTime) {
  Case even{.length = 32768, .ranks = 4, .heads = 8, .groups = 8}, uneven = even;
  uneven.heads = uneven.groups = 7;
  even.speeds.attention.seconds_per_block = uneven.speeds.attention.seconds_per_block = 0;
  // Seven heads on four ranks: one has two, as all have of eight.
  const auto a2a = [](const Case& c) { return of(c.choose(), CpTransport::a2a).attention_seconds; };
  EXPECT_NEAR(a2a(uneven), a2a(even), 0.02 * a2a(even));
}

TEST(TransportChoice, AWindowGoesByHalo) {
  Case c{.length = 65536, .ranks = 8, .window = {1024, 0}, .layout = CpLayout::contiguous};
  const TransportChoice choice = c.choose();
  EXPECT_EQ(choice.transport, CpTransport::p2p);
  EXPECT_EQ(choice.reason, "only the rows that the mask needs travel");
  // 1024 rows of K and V forward; the same and their gradients backward.
  EXPECT_EQ(of(choice, CpTransport::p2p).bytes, std::int64_t{1024} * 32 * 256 * (2 + 2 + 4));
}

TEST(TransportChoice, DocumentsThatEndAtTheShardsSendNothing) {
  const Case c{.length = 8192, .ranks = 4, .document_starts = {0, 2048, 4096, 6144}, .layout = CpLayout::contiguous};
  const TransportChoice choice = c.choose();
  EXPECT_EQ(choice.transport, CpTransport::p2p);
  EXPECT_EQ(of(choice, CpTransport::p2p).bytes, 0);
  EXPECT_EQ(of(choice, CpTransport::p2p).transfer_seconds, 0.0);
}

// Many tiles of documents are one call where the kernel batches them, and each is its own where it does not.
TEST(TransportChoice, TilesOfDocumentsAreCountedByCalls) {
  std::vector<std::int64_t> starts;
  for (std::int64_t at = 0; at < 16384; at += 128) starts.push_back(at);
  Case one{.length = 16384, .ranks = 2, .document_starts = starts}, batched = one;
  one.speeds.attention = {1e30, 1e30, 1e-3, 1e30, false};
  batched.speeds.attention = {1e30, 1e30, 1e-3, 1e30, true};
  EXPECT_NEAR(of(one.choose(), CpTransport::p2p).attention_seconds, 2 * 64e-3, 1e-6);
  EXPECT_NEAR(of(batched.choose(), CpTransport::p2p).attention_seconds, 2e-3, 1e-6);
}

TEST(TransportChoice, SizesThatWereNotGivenAreNoCandidate) {
  const TransportChoice without = Case{.ranks = 4}.choose();
  EXPECT_FALSE(of(without, CpTransport::hierarchical).refusal.empty());
  const TransportChoice with = Case{.ranks = 4, .hierarchical_a = 2}.choose();
  EXPECT_TRUE(of(with, CpTransport::hierarchical).refusal.empty());
  EXPECT_GT(of(with, CpTransport::hierarchical).seconds, 0.0);
}

TEST(TransportChoice, TheLineSaysAllPredictionsAndTheReason) {
  TransportChoice choice;
  choice.predictions = {{CpTransport::p2p, 0.0019, 0.001, 0, 0.00192, 1, ""},
                        {CpTransport::all_gather, 0.002, 0.001, 0, 0.0021, 1, ""},
                        {CpTransport::a2a, 0.002, 0.001, 0, 0.00231, 1, ""},
                        {CpTransport::hierarchical, 0, 0, 0, 0, 0, "no sizes"}};
  choice.reason = "ring hop hides behind attention";
  EXPECT_EQ(
      to_string(choice),
      "p2p (predicted 1.92 ms a layer, forward and backward; all_gather 2.10, a2a 2.31): ring hop hides behind attention");
}

TEST(TransportChoice, OfManyRanksEverySecondIsPricedByItsOwnPlan) {
  std::vector<std::int64_t> starts;
  for (std::int64_t at = 0; at < 32768; at += 700 + at % 977) starts.push_back(at);
  Case c{.length = 32768, .ranks = 16, .document_starts = starts, .layout = CpLayout::balanced};
  c.speeds.attention = {1e12, 1e12, 0.0, 1e30};
  const TransportChoice choice = c.choose();

  const std::vector<AttentionMask> masks = {AttentionMask(c.length, true, {}, starts)};
  const SequenceLayout layout = make_layout(c.layout, masks, c.ranks);
  for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
    std::int64_t most = 0;
    for (int rank = 0; rank < c.ranks; rank += 2) {
      const RankSchedules schedules =
          lower(make_transport_plan(transport, 1, {layout, masks}, rank), {c.heads, c.groups});
      const TransportBytes bytes = bytes_of(schedules, layout, rank, c.shape());
      most = std::max(most, bytes.forward + bytes.backward);
    }
    EXPECT_EQ(of(choice, transport).bytes, most) << to_text(transport);
  }
  // Under a2a every rank has two heads of all documents.
  const double cells = 2.0 * static_cast<double>(masks[0].area());
  EXPECT_NEAR(of(choice, CpTransport::a2a).attention_seconds, cells * 2 * 128 * (2 + 5) / 1e12, 1e-12);
}

}  // namespace
}  // namespace ringtron
