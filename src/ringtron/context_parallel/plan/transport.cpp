#include "ringtron/context_parallel/plan/transport.h"

#include <fmt/format.h>

#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"

namespace ringtron {
namespace {

// Peers of the inner plan number groups; the rank to talk to is the one with the same heads.
void map_peers(ExchangePlan& plan, int head_ranks, int head_rank) {
  for (Step& step : plan.steps) {
    for (Message& message : step.sends) message.peer = message.peer * head_ranks + head_rank;
    for (Message& message : step.receives) message.peer = message.peer * head_ranks + head_rank;
  }
}

}  // namespace

std::string_view to_text(CpTransport transport) { return transport.row().name.word; }

CpTransport transport_of(std::string_view text) {
  const TransportWord* known = find_transport_word(text);
  for (const CpTransport transport : cp_transports()) {
    if (known != nullptr && known->word == to_text(transport)) return transport;
  }
  throw ConfigError(fmt::format("--cp-comm-type: expected {}, got {}. Correct the word.", transports_text(), text));
}

std::string transports_text() {
  std::string text;
  const std::vector<CpTransport> all = cp_transports();
  for (std::size_t i = 0; i < all.size(); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : i + 1 < all.size() ? ", " : " or ", to_text(all[i]));
  }
  return text;
}

int head_ranks_of(CpTransport transport, int ranks, int hierarchical_a) {
  const int head_ranks = transport.row().head_ranks(ranks, hierarchical_a);
  RT_CHECK(head_ranks > 0 && ranks % head_ranks == 0, "{}: {} of {} ranks share heads", to_text(transport), head_ranks,
           ranks);
  return head_ranks;
}

std::string_view refusal_of(CpTransport transport, int hierarchical_a) {
  return transport.row().needs_sizes && hierarchical_a == 0 ? "no --hierarchical-context-parallel-sizes" : "";
}

TransportPlan make_transport_plan(CpTransport transport, int hierarchical_a, const PlanRequest& request, int rank) {
  const int ranks = request.layout.ranks();
  RT_CHECK(rank >= 0 && rank < ranks, "context-parallel rank {} of {}", rank, ranks);
  const int head_ranks = head_ranks_of(transport, ranks, hierarchical_a);
  SequenceLayout inner = request.layout.merged(head_ranks);
  RankPlan plan = transport.row().plan({inner, request.masks}, rank / head_ranks);
  map_peers(plan.forward, head_ranks, rank % head_ranks);
  map_peers(plan.backward, head_ranks, rank % head_ranks);
  return {head_ranks, std::move(inner), std::move(plan)};
}

std::uint64_t plan_hash(CpTransport transport, int hierarchical_a, const PlanRequest& request) {
  std::string text = fmt::format("{} {}", to_text(transport), hierarchical_a);
  for (int rank = 0; rank < request.layout.ranks(); ++rank) {
    text += '\n';
    for (const PositionRange& range : request.layout.of(rank)) text += fmt::format(" {}-{}", range.begin, range.end);
  }
  for (const AttentionMask& mask : request.masks) {
    text += fmt::format("\n{} {} {}", mask.sequence_length(), mask.causal(), mask.dense());
    // How far the first query of a document sees ahead and the last one back says all about its window.
    for (std::size_t i = 0; i < mask.document_starts().size(); ++i) {
      const auto [begin, end] = mask.document(i);
      text += fmt::format(" {} {} {}", begin, mask.keys_of(begin).end, mask.keys_of(end - 1).begin);
    }
  }
  return hash64(text);
}

TransportBytes closed_form_bytes(int ranks, int head_ranks, std::int64_t sequence_length, const AttentionShape& shape) {
  const std::int64_t rows = sequence_length / ranks * shape.samples, size = shape.key_size + shape.value_size;
  const std::int64_t q_and_out = shape.heads * rows * size * shape.element_bytes;
  const std::int64_t kv = shape.groups * rows * size * shape.element_bytes;
  const std::int64_t sum = shape.groups * rows * size * shape.sum_bytes;
  const std::int64_t others = ranks / head_ranks - 1;
  const std::int64_t heads = (head_ranks - 1) * (q_and_out + kv) / head_ranks;
  return {heads + others * kv, heads + others * (kv + sum)};
}

}  // namespace ringtron
