#include "ringtron/tools/profile/transfer_list.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "ringtron/context_parallel/plan/balanced_layout.h"

namespace ringtron {
namespace {

struct Case {
  CpTransport transport;
  int ranks, a;
  std::int64_t heads, groups, length;
  AttentionWindow window = {};
  std::vector<std::int64_t> documents = {};
};

const Case kCases[] = {
    {CpTransport::p2p, 4, 1, 4, 2, 64, {}, {}},
    {CpTransport::p2p, 3, 1, 4, 4, 50, {}, {}},
    {CpTransport::p2p, 4, 1, 4, 2, 64, {5, 0}, {}},
    {CpTransport::p2p, 4, 1, 4, 2, 61, {}, {0, 7, 30, 31}},
    {CpTransport::all_gather, 4, 1, 4, 2, 63, {}, {0, 20}},
    {CpTransport::a2a, 4, 1, 7, 7, 61, {}, {}},
    {CpTransport::a2a, 8, 1, 8, 2, 64, {}, {}},
    {CpTransport::hierarchical, 6, 2, 5, 5, 47, {}, {}},
    {CpTransport::hierarchical, 8, 4, 8, 2, 64, {9, 0}, {}},
};

std::int64_t bytes_sent(const std::vector<Transfer>& transfers) {
  std::int64_t bytes = 0;
  for (const Transfer& transfer : transfers) {
    for (const SizedMessage& message : transfer.sends) bytes += message.bytes;
  }
  return bytes;
}

std::vector<std::vector<Transfer>> lists_of(const Case& c) {
  const std::vector<AttentionMask> masks = {AttentionMask(c.length, true, c.window, c.documents)};
  const SequenceLayout layout = make_layout("zigzag", masks, c.ranks);
  const AttentionShape shape{2, c.heads, c.groups, 16, 8, 2, 3, 4};
  std::vector<std::vector<Transfer>> lists;
  for (int rank = 0; rank < c.ranks; ++rank) {
    const TransportPlan plan = make_transport_plan(c.transport, c.a, {layout, masks}, rank);
    lists.push_back(transfers_of(plan, layout, shape, rank));
    const TransportBytes bytes = bytes_of(plan, layout, shape, rank);
    EXPECT_EQ(bytes_sent(lists.back()), bytes.forward + bytes.backward)
        << to_text(c.transport) << " on " << c.ranks << ", rank " << rank;
  }
  return lists;
}

TEST(TransferList, HasTheBytesOfThePlanAndEverySendItsReceive) {
  for (const Case& c : kCases) {
    const auto lists = lists_of(c);
    for (std::size_t step = 0; step < lists[0].size(); ++step) {
      // Between two ranks messages match in order, so the sequences of sizes must be equal.
      std::map<std::pair<int, int>, std::vector<std::int64_t>> sent, received;
      for (int rank = 0; rank < c.ranks; ++rank) {
        ASSERT_EQ(lists[static_cast<std::size_t>(rank)].size(), lists[0].size());
        const Transfer& transfer = lists[static_cast<std::size_t>(rank)][step];
        for (const SizedMessage& m : transfer.sends) sent[{rank, m.peer}].push_back(m.bytes);
        for (const SizedMessage& m : transfer.receives) received[{m.peer, rank}].push_back(m.bytes);
      }
      EXPECT_EQ(sent, received) << to_text(c.transport) << " on " << c.ranks << ", exchange " << step;
    }
  }
}

}  // namespace
}  // namespace ringtron
