// Exchanges by size: every send has its receive.
#include "ringtron/context_parallel/schedule/schedule_check.h"

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

std::int64_t bytes_sent(const std::vector<SizedExchange>& transfers) {
  std::int64_t bytes = 0;
  for (const SizedExchange& transfer : transfers) {
    for (const SizedMessage& message : transfer.sends) bytes += message.bytes;
  }
  return bytes;
}

std::vector<std::vector<SizedExchange>> lists_of(const Case& c) {
  const std::vector<AttentionMask> masks = {AttentionMask(c.length, true, c.window, c.documents)};
  const SequenceLayout layout = make_layout(CpLayout::zigzag, masks, c.ranks);
  const AttentionShape shape{2, c.heads, c.groups, 16, 8, 2, 4};
  std::vector<std::vector<SizedExchange>> lists;
  const auto schedules = make_schedules({layout, masks}, c.transport, c.a, {c.heads, c.groups});
  for (int rank = 0; rank < c.ranks; ++rank) {
    const RankSchedules& mine = schedules[static_cast<std::size_t>(rank)];
    lists.push_back(exchanges_of(mine.forward, layout, rank, shape));
    for (SizedExchange& exchange : exchanges_of(mine.backward, layout, rank, shape))
      lists.back().push_back(std::move(exchange));
    const TransportBytes bytes = bytes_of(mine, layout, rank, shape);
    EXPECT_EQ(bytes_sent(lists.back()), bytes.forward + bytes.backward)
        << to_text(c.transport) << " on " << c.ranks << ", rank " << rank;
  }
  return lists;
}

TEST(ExchangesOfASchedule, HaveItsBytesAndEverySendItsReceive) {
  for (const Case& c : kCases) {
    const auto lists = lists_of(c);
    for (std::size_t step = 0; step < lists[0].size(); ++step) {
      // Between two ranks messages match in order, so the sequences of sizes must be equal.
      std::map<std::pair<int, int>, std::vector<std::int64_t>> sent, received;
      for (int rank = 0; rank < c.ranks; ++rank) {
        ASSERT_EQ(lists[static_cast<std::size_t>(rank)].size(), lists[0].size());
        const SizedExchange& transfer = lists[static_cast<std::size_t>(rank)][step];
        for (const SizedMessage& m : transfer.sends) sent[{rank, m.peer}].push_back(m.bytes);
        for (const SizedMessage& m : transfer.receives) received[{m.peer, rank}].push_back(m.bytes);
      }
      EXPECT_EQ(sent, received) << to_text(c.transport) << " on " << c.ranks << ", exchange " << step;
    }
  }
}

}  // namespace
}  // namespace ringtron
