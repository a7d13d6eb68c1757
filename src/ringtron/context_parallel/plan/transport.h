// A context-parallel strategy: which of the ranks share heads and which pass keys and values, and the plan of that.
//
// All four are one scheme. Ranks 0..A-1 (and the next A, ...) exchange sequence for heads: each then holds the
// rows of all of them for a share of the heads. The P = ranks / A groups pass keys and values by a plan.
//   p2p: A = 1, P = n, the ring      all_gather: A = 1, P = n, gathered      a2a (Ulysses): A = n, P = 1
//   a2a+p2p (hierarchical): A x P = n, sizes given by --hierarchical-context-parallel-sizes A P
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan/head_shares.h"

namespace ringtron {

enum class CpTransport { p2p, all_gather, a2a, hierarchical };

inline constexpr CpTransport kCpTransports[] = {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a,
                                                CpTransport::hierarchical};

// The word of --cp-comm-type: p2p, all_gather, a2a, a2a+p2p.
std::string_view to_text(CpTransport transport);
// The inverse; "allgather" too. Throws ConfigError that lists the words.
CpTransport transport_of(std::string_view text);

// Number of ranks that share heads (A). `hierarchical_a`: A of a2a+p2p; throws ConfigError unless it divides ranks.
int head_ranks_of(CpTransport transport, int ranks, int hierarchical_a);

// The plan of one rank. Owners and ranks in its steps number the groups of A; peers are ranks of the whole group.
struct TransportPlan {
  CpTransport transport = CpTransport::p2p;
  int ranks = 1;
  int head_ranks = 1;    // A
  SequenceLayout inner;  // of the groups; ranks() == P
  bool keeps_last_block = false;
  ExchangePlan forward, backward;

  int inner_rank() const { return forward.rank; }
};

TransportPlan make_transport_plan(CpTransport transport, int hierarchical_a, const PlanRequest& request, int rank);

// A number that is the same on two ranks only if they plan the same: transport, sizes, layout and masks.
std::uint64_t plan_hash(CpTransport transport, int hierarchical_a, const PlanRequest& request);

// Bytes on the wire for one layer, sent by one rank.
struct TransportBytes {
  std::int64_t forward = 0;
  std::int64_t backward = 0;
  bool operator==(const TransportBytes&) const = default;
};

// Shapes of one attention layer on one tensor-parallel rank.
struct AttentionShape {
  std::int64_t samples = 1;        // b
  std::int64_t heads = 1;          // n, before they are shared
  std::int64_t groups = 1;         // g
  std::int64_t key_size = 1;       // d of q and k
  std::int64_t value_size = 1;     // d of v and out
  std::int64_t element_bytes = 2;  // of the model's type
  std::int64_t sum_bytes = 4;      // of the accumulate type
};

// What a layer sends by the closed forms of a dense mask and equal shards, independent of any plan:
//   p2p, all_gather  (n-1) KV                      (n-1) (KV + dKV)
//   a2a              (n-1)/n (2Q + KV)             (n-1)/n (2Q + KV)
//   a2a+p2p          (A-1)/A (2Q + KV) + (P-1) KV  (A-1)/A (2Q + KV) + (P-1) (KV + dKV)
// with Q = (s/n) b n d, KV = (s/n) b g (d_k + d_v), dKV the same with sum_bytes. Heads must divide by A.
TransportBytes closed_form_bytes(CpTransport transport, int ranks, int head_ranks, std::int64_t sequence_length,
                                 const AttentionShape& shape);

}  // namespace ringtron
