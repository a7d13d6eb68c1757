// The proof of exchange: a correct run passes, a broken one is reported with the layer that broke.
#include "ringtron/context_parallel/plan/exchange_proof.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ringtron/comm/decorators/counting_communicator.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/context_parallel/thread_ring.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

using Tables = std::vector<std::vector<std::int64_t>>;

TEST(CheckExchange, NothingWrong) {
  EXPECT_THAT(check_exchange({{0, 0, 60, 100, 1, 0, 10, 20}, {0, 0, 40, 100, 1, 0, 10, 20}}), IsEmpty());
  EXPECT_THAT(check_exchange({{}, {}}), IsEmpty());
}

TEST(CheckExchange, NamesLayerAndRankOfWrongBytes) {
  EXPECT_THAT(check_exchange({{0, 0, 5, 10, 7, 0, 5, 10}, {0, 0, 5, 10, 7, -64, 5, 10}}),
              ElementsAre(::testing::AllOf(StartsWith("layer 7:"), HasSubstr("rank 1"), HasSubstr("64 bytes fewer"))));
  EXPECT_THAT(check_exchange({{2, 8, 5, 5}}), ElementsAre(HasSubstr("8 bytes more")));
}

TEST(CheckExchange, CellsOfAllRanksCount) {
  EXPECT_THAT(check_exchange({{3, 0, 60, 100}, {3, 0, 39, 100}}),
              ElementsAre(::testing::AllOf(StartsWith("layer 3:"), HasSubstr("100"), HasSubstr("99"))));
  EXPECT_THAT(check_exchange({{3, 0, 60, 100}, {3, 0, 41, 100}}), ElementsAre(StartsWith("layer 3:")));
}

TEST(CheckExchange, EveryFaultHasItsLine) { EXPECT_EQ(check_exchange({{0, -1, 1, 4}, {0, 1, 1, 4}}).size(), 3u); }

TEST(CheckExchange, RefusesTablesOfOtherLayers) {
  EXPECT_ANY_THROW(check_exchange({{0, 0, 1, 2}, {1, 0, 1, 2}}));
  EXPECT_ANY_THROW(check_exchange({{0, 0, 1, 2}, {}}));
}

TEST(ExchangeProof, TableIsInTheOrderOfLayers) {
  ExchangeProof proof;
  proof.layer(5).done += {.bytes = 3, .cells = 4};
  proof.layer(5).expected += {.bytes = 1, .cells = 9};
  proof.layer(2).done += {.bytes = 6, .cells = 7};
  EXPECT_THAT(proof.table(), ElementsAre(2, 6, 7, 0, 5, 2, 4, 9));
  proof.reset();
  EXPECT_THAT(proof.table(), IsEmpty());
}

constexpr int kRanks = 4, kLayers = 3;

// Three layers, forward and then backward; every rank's table.
Tables tables_of(const CaseSizes& sizes, CpFault fault = CpFault::none) {
  const SequenceLayout layout = testing::layout_of(sizes, kRanks);
  AttentionCase c = testing::make_case(sizes);
  c.fault = fault;
  c.fault_layer = 1;
  c.options.hierarchical_a = sizes.hierarchical_a;
  Tables tables(kRanks);
  testing::ThreadRing(kRanks).run([&](Communicator& comm) {
    const auto attention = c.attention(comm, layout);
    AttentionCase mine = c;
    for (mine.call.layer = 0; mine.call.layer < kLayers; ++mine.call.layer) {
      testing::results_of_rank(*attention, mine, layout, comm.rank());
    }
    tables[static_cast<std::size_t>(comm.rank())] = attention->proof().table();
  });
  return tables;
}

std::vector<CaseSizes> cases_over(CpTransport transport) {
  std::vector<CaseSizes> cases = testing::parity_cases();
  for (const CaseSizes& sizes : testing::masked_cases()) cases.push_back(sizes);
  cases.push_back({.sequence = 3});
  cases.push_back({.heads = 7, .groups = 1});
  return testing::over(transport, cases, 2);
}

TEST(ExchangeProof, CorrectRunsPass) {
  for (const CpTransport transport : cp_transports()) {
    int number = 0;
    for (const CaseSizes& sizes : cases_over(transport)) {
      const Tables tables = tables_of(sizes);
      EXPECT_THAT(check_exchange(tables), IsEmpty()) << to_text(transport) << ", case " << number++;
      for (const auto& table : tables) EXPECT_EQ(table.size(), 4u * kLayers);
    }
  }
}

// What is expected does not come from what was done: cells are the mask's, counted here one by one, once
// forward and once backward; bytes are those of the communicator.
TEST(ExchangeProof, CountsAreTheMasksAndTheCommunicators) {
  for (const CpTransport transport : cp_transports()) {
    const CaseSizes sizes = testing::over(transport, {{.documents = {{4, 9, 40}, {21}}}}, 2).front();
    std::int64_t cells = 0;
    for (const AttentionMask& mask : testing::masks_of(sizes)) {
      for (std::int64_t q = 0; q < sizes.sequence; ++q) cells += mask.keys_of(q).length();
    }
    const SequenceLayout layout = testing::layout_of(sizes, kRanks);
    AttentionCase c = testing::make_case(sizes);
    c.call = testing::call_on(c, layout);
    testing::ThreadRing(kRanks).run([&](Communicator& comm) {
      CountingCommunicator counting(comm);
      const auto attention = c.attention(counting, layout);
      testing::results_of_rank(*attention, c, layout, comm.rank());  // agrees on the plan
      attention->proof().reset();
      counting.reset();
      testing::results_of_rank(*attention, c, layout, comm.rank());
      EXPECT_EQ(attention->proof().layer(0).done.bytes, counting.counts().exchange.bytes);
      EXPECT_EQ(attention->proof().layer(0).expected.cells, 2 * cells * sizes.heads);
      EXPECT_GT(counting.counts().exchange.bytes, 0);
    });
  }
}

// The plan of a mask serves micro-batches of any number of samples.
TEST(ExchangeProof, OtherNumbersOfSamples) {
  const SequenceLayout layout = zigzag_layout(48, kRanks);
  Tables tables(kRanks);
  testing::ThreadRing(kRanks).run([&](Communicator& comm) {
    const auto attention = make_cp_attention(comm, layout);
    for (const std::int64_t samples : {3, 1}) {
      testing::results_of_rank(*attention, testing::make_case({.batch = samples}), layout, comm.rank());
    }
    tables[static_cast<std::size_t>(comm.rank())] = attention->proof().table();
  });
  EXPECT_THAT(check_exchange(tables), IsEmpty());
}

// Negative controls: a fault in one layer is reported, and only for this one.
void expect_reported(const CaseSizes& sizes, CpFault fault) {
  const std::vector<std::string> lines = check_exchange(tables_of(sizes, fault));
  EXPECT_THAT(lines, Not(IsEmpty())) << to_text(sizes.transport);
  EXPECT_THAT(lines, Each(StartsWith("layer 1:"))) << to_text(sizes.transport);
}

TEST(ExchangeProofControl, SkippedExchange) {
  for (const CpTransport transport : cp_transports()) {
    for (const CaseSizes& sizes : testing::over(transport, {{}, {.documents = {{20}, {}}}}, 2)) {
      expect_reported(sizes, CpFault::skip_exchange);
    }
  }
}

TEST(ExchangeProofControl, BlockAttendedTwice) {
  for (const CpTransport transport : cp_transports()) {
    for (const CaseSizes& sizes : testing::over(transport, {{}, {.window = {.left = 5}}}, 2)) {
      expect_reported(sizes, CpFault::double_count);
    }
  }
}

}  // namespace
}  // namespace ringtron
