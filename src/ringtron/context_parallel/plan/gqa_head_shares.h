// How the ranks of one all-to-all (Ulysses) divide attention heads, evenly or not, and replicate key/value heads (GQA).
#pragma once

#include <cstdint>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

// The heads of one rank: query heads [q.begin, q.end) and every key/value head that one of them uses. Ranks that use
// the same key/value head all get it, and their gradients of it are summed.
struct HeadShare {
  PositionRange q;
  PositionRange kv;
  bool operator==(const HeadShare&) const = default;
};

// n query heads in g groups over `ranks`: consecutive shares that differ by at most one query head; a share may be
// empty. n is a multiple of g.
std::vector<HeadShare> share_heads(std::int64_t n, std::int64_t g, int ranks);

// Whether some key/value head is in two shares.
bool heads_are_replicated(const std::vector<HeadShare>& shares);

// The local key/value head that each local query head uses: 0 .. kv.length()-1.
std::vector<std::int64_t> key_head_of_query_head(const HeadShare& share, std::int64_t heads_per_group);

// Whether attention kernels can take the share as it is: the same number of query heads for each key/value head.
bool is_regular(const HeadShare& share, std::int64_t heads_per_group);

}  // namespace ringtron
