// A call that is made again with what the first one received has the same bits and sends nothing.
#include "ringtron/context_parallel/run/saved_kv.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>

#include "ringtron/comm/decorators/counting_communicator.h"
#include "tests/context_parallel/over_transport.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using testing::Results;

constexpr int kRanks = 4;

// What a rank sent in the first forward, in the second, and in the backward; what it kept between the first
// two.
struct Sent {
  std::int64_t first = 0, again = 0, backward = 0, kept = 0;
};

// Memory held by all that is saved; what shares it counts once.
std::int64_t bytes_of(const SavedKv& saved) {
  std::set<const void*> seen;
  std::int64_t sum = 0;
  const auto add = [&](const at::Tensor& x) {
    if (!x.defined() || !seen.insert(x.storage().unsafeGetStorageImpl()).second) return;
    sum += static_cast<std::int64_t>(x.storage().nbytes());
  };
  for (const auto& [number, block] : saved.buffers) {
    add(block.k);
    add(block.v);
  }
  add(saved.q);
  add(saved.out);
  return sum;
}

// The first forward without a graph, the second with one, as recomputation does it.
Results twice(CpAttention& attention, const CountingCommunicator& counting, const AttentionCase& c,
              const SequenceLayout& layout, Sent& sent) {
  const auto mine = [&](const at::Tensor& x) { return testing::shard(x, layout, counting.rank()); };
  AttentionCall call = testing::call_on(c, layout);
  const auto so_far = [&] { return counting.counts().exchange.bytes; };
  {
    const at::NoGradGuard off;
    attention.forward(mine(c.q), mine(c.k), mine(c.v), call);  // the ranks agree on the plan
    if (call.saved_kv) call.saved_kv->clear();
    const std::int64_t before = so_far();
    attention.forward(mine(c.q), mine(c.k), mine(c.v), call);
    sent.first = so_far() - before;
  }
  if (call.saved_kv) sent.kept = bytes_of(*call.saved_kv);
  std::int64_t after_forward = 0;
  Results results =
      testing::forward_backward({mine(c.q), mine(c.k), mine(c.v), mine(c.d_out)}, call,
                                [&](const auto& q, const auto& k, const auto& v, const AttentionCall& given) {
                                  const std::int64_t before = so_far();
                                  const at::Tensor out = attention.forward(q, k, v, given);
                                  after_forward = so_far();
                                  sent.again = after_forward - before;
                                  return out;
                                });
  sent.backward = so_far() - after_forward;
  return results;
}

class SavedKvOver : public testing::OverTransport {
 protected:
  static std::vector<Results> run(const CaseSizes& sizes, bool keeps, std::vector<Sent>& sent,
                                  CpFault fault = CpFault::none) {
    const SequenceLayout layout = testing::layout_of(sizes, kRanks);
    AttentionCase c = testing::make_case(over(sizes, kRanks));
    c.fault = fault;
    std::vector<Results> results(kRanks);
    sent.assign(kRanks, {});
    testing::ThreadRing(kRanks).run([&](Communicator& comm) {
      const auto rank = static_cast<std::size_t>(comm.rank());
      CountingCommunicator counting(comm);
      const auto attention = c.attention(counting, layout);
      AttentionCase mine = c;
      if (keeps) mine.call.saved_kv = std::make_shared<SavedKv>();
      results[rank] = twice(*attention, counting, mine, layout, sent[rank]);
      if (mine.call.saved_kv) {
        EXPECT_FALSE(mine.call.saved_kv->filled);
        EXPECT_EQ(bytes_of(*mine.call.saved_kv), 0);
      }
    });
    return results;
  }
};

INSTANTIATE_TEST_SUITE_P(Transports, SavedKvOver, ::testing::ValuesIn(cp_transports()), testing::transport_name);

TEST_P(SavedKvOver, SameBitsAndNoMessage) {
  std::vector<CaseSizes> cases = testing::parity_cases();
  for (const CaseSizes& sizes : testing::masked_cases()) cases.push_back(sizes);
  cases.push_back({.sequence = 3});  // an empty shard
  cases.push_back({.documents = {{0, 1, 2, 20, 45}, {}}, .layout = CpLayout::balanced});
  int number = 0;
  for (const CaseSizes& sizes : cases) {
    SCOPED_TRACE(number++);
    std::vector<Sent> again, kept;
    const std::vector<Results> expected = run(sizes, false, again), got = run(sizes, true, kept);
    for (std::size_t rank = 0; rank < kRanks; ++rank) {
      for (std::size_t i = 0; i < expected[rank].size(); ++i) {
        EXPECT_TRUE(got[rank][i].equal(expected[rank][i])) << testing::kResultNames[i] << " on rank " << rank;
      }
      EXPECT_EQ(again[rank].again, again[rank].first);
      EXPECT_EQ(kept[rank].first, again[rank].first);
      EXPECT_EQ(kept[rank].backward, again[rank].backward);
      EXPECT_EQ(kept[rank].again, 0);
    }
  }
}

// What --cp-keep-kv's help says, for shards and heads that divide.
TEST_P(SavedKvOver, KeepsWhatTheHelpSays) {
  const CaseSizes sizes = {.sequence = 48, .batch = 2, .heads = 8, .groups = 4, .head_size = 5};
  std::vector<Sent> sent;
  run(sizes, true, sent);
  const std::int64_t q = 48 / kRanks * 2 * 8 * 5, kv = 2 * 48 / kRanks * 2 * 4 * 5;
  const std::map<CpTransport, std::int64_t> elements = {{CpTransport::p2p, (kRanks - 1) * kv},
                                                        {CpTransport::all_gather, kRanks * kv},
                                                        {CpTransport::a2a, 2 * q + kv},
                                                        {CpTransport::hierarchical, 2 * q + kRanks / 2 * kv}};
  for (const Sent& rank : sent) EXPECT_EQ(rank.kept, 8 * elements.at(GetParam()));
}

// Negative control: keys kept in the wrong order. The result of the second call differs, that of the first
// does not.
TEST_P(SavedKvOver, WrongKeysAreSeen) {
  std::vector<Sent> sent;
  const std::vector<Results> sound = run({}, true, sent), broken = run({}, true, sent, CpFault::wrong_kept);
  bool seen = false;
  for (std::size_t rank = 0; rank < kRanks; ++rank)
    seen = seen || !broken[rank][1].allclose(sound[rank][1], 1e-6, 1e-6);
  EXPECT_TRUE(seen);
  const std::vector<Results> unkept = run({}, false, sent, CpFault::wrong_kept);
  for (std::size_t rank = 0; rank < kRanks; ++rank) EXPECT_TRUE(unkept[rank][1].equal(sound[rank][1]));
}

}  // namespace
}  // namespace ringtron
