#include "ringtron/context_parallel/plan/transport.h"

#include <fmt/format.h>

#include <algorithm>
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

// Bytes of one row (one position, all samples) of some heads.
struct RowBytes {
  const AttentionShape& shape;
  std::int64_t q(std::int64_t heads) const { return heads * shape.samples * shape.key_size * shape.element_bytes; }
  std::int64_t out(std::int64_t heads) const { return heads * shape.samples * shape.value_size * shape.element_bytes; }
  std::int64_t kv(std::int64_t heads, std::int64_t element_bytes) const {
    return heads * shape.samples * (shape.key_size + shape.value_size) * element_bytes;
  }
};

}  // namespace

std::string_view to_text(CpTransport transport) {
  switch (transport) {
    case CpTransport::p2p:
      return "p2p";
    case CpTransport::all_gather:
      return "all_gather";
    case CpTransport::a2a:
      return "a2a";
    case CpTransport::hierarchical:
      return "a2a+p2p";
  }
  return "unknown";
}

CpTransport transport_of(std::string_view text) {
  if (text == "allgather") return CpTransport::all_gather;
  for (const CpTransport transport : kCpTransports) {
    if (text == to_text(transport)) return transport;
  }
  throw ConfigError(
      fmt::format("--cp-comm-type: expected p2p, all_gather, a2a or a2a+p2p, got {}. Correct the word.", text));
}

int head_ranks_of(CpTransport transport, int ranks, int hierarchical_a) {
  if (transport == CpTransport::a2a) return ranks;
  if (transport != CpTransport::hierarchical) return 1;
  if (hierarchical_a == 0) {
    throw ConfigError(fmt::format(
        "--cp-comm-type a2a+p2p: expected --hierarchical-context-parallel-sizes A P, got none. Give two sizes whose product is "
        "--context-parallel-size {}, the first of the ranks that share heads.", ranks));
  }
  if (hierarchical_a < 0 || ranks % hierarchical_a != 0) {
    throw ConfigError(fmt::format(
        "--hierarchical-context-parallel-sizes: expected sizes whose product is --context-parallel-size {}, got {} as "
        "the first. Give a divisor, or another --cp-comm-type.",
        ranks, hierarchical_a));
  }
  return hierarchical_a;
}

TransportPlan make_transport_plan(CpTransport transport, int hierarchical_a, const PlanRequest& request, int rank) {
  const int ranks = request.layout.ranks();
  RT_CHECK(rank >= 0 && rank < ranks, "context-parallel rank {} of {}", rank, ranks);
  const int head_ranks = head_ranks_of(transport, ranks, hierarchical_a);
  SequenceLayout inner = request.layout.merged(head_ranks);
  const PlanRequest inner_request{inner, request.masks};
  const bool gathers = transport == CpTransport::all_gather;
  PlanOfRank plan = gathers ? plan_all_gather(inner_request, rank / head_ranks) : plan_p2p(inner_request, rank / head_ranks);
  map_peers(plan.forward, head_ranks, rank % head_ranks);
  map_peers(plan.backward, head_ranks, rank % head_ranks);
  const bool keeps = !gathers && keeps_last_block(inner_request);
  return {transport, ranks, head_ranks, std::move(inner), keeps, std::move(plan.forward), std::move(plan.backward)};
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
    const std::vector<std::int64_t>& starts = mask.document_starts();
    for (std::size_t i = 0; i < starts.size(); ++i) {
      const std::int64_t end = i + 1 < starts.size() ? starts[i + 1] : mask.sequence_length();
      text += fmt::format(" {} {} {}", starts[i], mask.keys_of(starts[i]).end, mask.keys_of(end - 1).begin);
    }
  }
  return hash64(text);
}

TransportBytes closed_form_bytes(CpTransport transport, int ranks, int head_ranks, std::int64_t sequence_length,
                                 const AttentionShape& shape) {
  const RowBytes row{shape};
  const std::int64_t local = sequence_length / ranks;
  const std::int64_t q = local * row.q(shape.heads), out = local * row.out(shape.heads);
  const std::int64_t kv = local * row.kv(shape.groups, shape.element_bytes);
  const std::int64_t sum = local * row.kv(shape.groups, shape.sum_bytes);
  const std::int64_t others = transport == CpTransport::hierarchical ? ranks / head_ranks - 1 : ranks - 1;
  const std::int64_t a = transport == CpTransport::a2a ? ranks : head_ranks;
  const std::int64_t heads_part = (a - 1) * (q + out + kv) / a;
  switch (transport) {
    case CpTransport::p2p:
      return {others * kv, others * (kv + sum)};
    case CpTransport::all_gather:
      return {others * kv, others * (kv + sum)};
    case CpTransport::a2a:
      return {heads_part, heads_part};
    case CpTransport::hierarchical:
      return {heads_part + others * kv, heads_part + others * (kv + sum)};
  }
  return {};
}

}  // namespace ringtron
