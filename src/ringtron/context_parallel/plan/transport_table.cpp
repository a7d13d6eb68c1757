// The table of transports: the rows of the four words of Megatron-LM's --cp-comm-type, and those that a program adds.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {
namespace {

int all_ranks(int ranks, int) { return ranks; }

int ranks_by_sizes(int ranks, int a) {
  if (a == 0) {
    throw ConfigError(
        fmt::format("--cp-comm-type a2a+p2p: expected --hierarchical-context-parallel-sizes A P, got none. Give two "
                    "sizes whose product is --context-parallel-size {}, the first of the ranks that share heads.",
                    ranks));
  }
  if (a < 0 || ranks % a != 0) {
    throw ConfigError(fmt::format(
        "--hierarchical-context-parallel-sizes: expected sizes whose product is --context-parallel-size {}, "
        "got {} as the first. Give a divisor, or another --cp-comm-type.",
        ranks, a));
  }
  return a;
}

std::string merit_of_ring(const TransportMerit& merit) {
  if (!merit.dense) return "only the rows that the mask needs travel";
  if (merit.exposed_seconds < 0.01 * merit.seconds) return "ring hop hides behind attention";
  return fmt::format("the least, although {:.2f} ms of its transfer does not hide", 1e3 * merit.exposed_seconds);
}

std::string merit_of_gather(const TransportMerit& merit) {
  return fmt::format("one gather costs less than {} hops of the ring", merit.ranks - 1);
}

std::string merit_of_heads(const TransportMerit& merit) {
  if (merit.bytes >= merit.ring_bytes) return "whole sequences in few exchanges, and nothing to merge";
  return fmt::format("sends {} where the ring sends {}", human_bytes(static_cast<std::uint64_t>(merit.bytes)),
                     human_bytes(static_cast<std::uint64_t>(merit.ring_bytes)));
}

TransportWord word(std::string_view text) {
  const TransportWord* found = find_transport_word(text);
  RT_CHECK(found != nullptr, "--cp-comm-type does not take {}", text);
  return *found;
}

// A deque, so that rows stay where they are. The first four are CpTransport's constants.
std::deque<TransportRow>& table() {
  static std::deque<TransportRow> rows = {
      {.name = word("p2p"), .plan = plan_p2p, .memory_order = 1, .reason = merit_of_ring},
      {.name = word("all_gather"),
       .plan = plan_all_gather,
       .held = std::nullopt,
       .memory_order = 4,
       .reason = merit_of_gather},
      {.name = word("a2a"), .plan = plan_p2p, .head_ranks = all_ranks, .memory_order = 2, .reason = merit_of_heads},
      {.name = word("a2a+p2p"),
       .plan = plan_p2p,
       .head_ranks = ranks_by_sizes,
       .needs_sizes = true,
       .memory_order = 3,
       .reason = merit_of_heads},
  };
  return rows;
}

}  // namespace

const TransportRow& CpTransport::row() const { return table().at(static_cast<std::size_t>(number_)); }

std::vector<CpTransport> cp_transports() {
  std::vector<CpTransport> all;
  for (int number = 0; number < std::ssize(table()); ++number) all.push_back(CpTransport(number));
  return all;
}

CpTransport add_transport(TransportRow row) {
  RT_CHECK(row.plan != nullptr && !row.name.word.empty(), "a transport without a word or a plan");
  const std::vector<std::string_view> taken = cp_comm_types();
  std::vector<std::string> words = row.name.spellings;
  words.push_back(row.name.word);
  for (const std::string& word : words) {
    RT_CHECK(std::ranges::find(taken, word) == taken.end(), "--cp-comm-type has a transport {} already", word);
  }
  add_transport_word(row.name);
  table().push_back(std::move(row));
  return cp_transports().back();
}

}  // namespace ringtron
