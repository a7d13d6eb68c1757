// Transports: which of the ranks share heads and how the others pass keys and values, as rows of a table that is open
// to more.
//
// All are one scheme. Ranks 0..A-1 (and the next A, ...) exchange sequence for heads: each then holds the rows of all
// of them for a share of the heads. The P = ranks / A groups pass keys and values by a plan.
//   p2p: A = 1, P = n, the ring      all_gather: A = 1, P = n, gathered      a2a (Ulysses): A = n, P = 1
//   a2a+p2p (hierarchical): A x P = n, sizes given by --hierarchical-context-parallel-sizes A P
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/choices/transport_words.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron {

struct TransportRow;

// Names a row of the table. Small, copied freely; ordered as the table is.
class CpTransport {
 public:
  static const CpTransport p2p, all_gather, a2a, hierarchical;

  const TransportRow& row() const;  // stays where it is
  auto operator<=>(const CpTransport&) const = default;

 private:
  explicit constexpr CpTransport(int number) : number_(number) {}
  friend std::vector<CpTransport> cp_transports();

  int number_;
};
inline constexpr CpTransport CpTransport::p2p{0}, CpTransport::all_gather{1}, CpTransport::a2a{2},
    CpTransport::hierarchical{3};

// What `auto` knows of a transport that it takes, for the reason that it gives.
struct TransportMerit {
  int ranks = 1;
  bool dense = true;                        // no mask has a window or documents
  double seconds = 0, exposed_seconds = 0;  // of a layer, and of that the transfer that does not hide
  std::int64_t bytes = 0, ring_bytes = 0;   // that it sends, and that p2p would
};

struct HeldBlocks {
  int key_value = 2, gradient = 4;
};

struct TransportRow {
  TransportWord name;  // of --cp-comm-type
  // What group `rank` of the P does; the layout of the request is that of the groups.
  RankPlan (*plan)(const PlanRequest& request, int rank) = nullptr;
  // A, a divisor of `ranks`. `a`: the first of --hierarchical-context-parallel-sizes, 0 without it. May throw
  // ConfigError.
  int (*head_ranks)(int ranks, int a) = [](int, int) { return 1; };
  bool needs_sizes = false;  // is no candidate without --hierarchical-context-parallel-sizes
  // The most blocks that a group holds at once: keys and values of others, sums of gradients. None: the whole sequence.
  std::optional<HeldBlocks> held = HeldBlocks{};
  // Of transports that are equally fast `auto` takes the one that holds least: the one with the least number here.
  int memory_order = 5;  // behind the four
  // Why `auto` takes it where it is the fastest.
  std::string (*reason)(const TransportMerit& merit) = [](const TransportMerit&) {
    return std::string("the least predicted time");
  };
};

// Adds a row. From then on flags take its word, and all that takes a transport takes it. Before flags are parsed and
// anything is planned, on all ranks the same rows in the same order; not thread-safe. Throws InternalError when a word
// is taken.
CpTransport add_transport(TransportRow row);

// All rows: the four that are named above, and those that were added.
std::vector<CpTransport> cp_transports();

// The word of --cp-comm-type: p2p, all_gather, a2a, a2a+p2p.
std::string_view to_text(CpTransport transport);
// The inverse; other spellings too. Throws ConfigError that lists the words.
CpTransport transport_of(std::string_view text);
// "p2p, all_gather, a2a or a2a+p2p".
std::string transports_text();

// Number of ranks that share heads (A). `hierarchical_a`: A of a2a+p2p; throws ConfigError unless it divides ranks.
int head_ranks_of(CpTransport transport, int ranks, int hierarchical_a);

// Why it is no candidate with these sizes (0: none were given); empty: it is one.
std::string_view refusal_of(CpTransport transport, int hierarchical_a);

// The plan of one rank. Owners and ranks in its steps number the groups of A; peers are ranks of the whole group.
struct TransportPlan {
  int head_ranks = 1;    // A
  SequenceLayout inner;  // of the groups; ranks() == P
  RankPlan passes;
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

// What a layer sends, independent of any plan, when every group gets the block of every other once and every sum goes
// home once; for a dense mask and equal shards:
//   (A-1)/A (2Q + KV) + (P-1) KV      and in the backward      (A-1)/A (2Q + KV) + (P-1) (KV + dKV)
// with Q = (s/n) b n d, KV = (s/n) b g (d_k + d_v), dKV the same with sum_bytes. Heads must divide by A, `head_ranks`.
TransportBytes closed_form_bytes(int ranks, int head_ranks, std::int64_t sequence_length, const AttentionShape& shape);

}  // namespace ringtron
