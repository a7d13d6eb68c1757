// How the ranks of one all-to-all divide attention heads, evenly or not.
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

// Which heads an attend of a plan computes: all, or one of two halves of the key/value heads, with the query heads that use
// them. The results of halves need no sum. The main half has the odd head; where heads do not divide it has them all, and the
// rest none: so a plan lets the main half hide its message.
enum class HeadPart { all, main, rest };

// The heads of a part, of `heads` query heads in `groups`. One key/value head does not divide, nor do any without `divides`.
HeadShare half_of(HeadPart part, std::int64_t heads, std::int64_t groups, bool divides);

// Whether halves gain more on a GPU, by what they hide, than another call of attention costs: not with few key/value heads, whose
// messages are short. On two H200, ring, 8,192 rows: 4 heads of 128 were 0.6% slower in halves, 32 were 1.3% faster.
bool pays_to_halve(std::int64_t groups, std::int64_t key_size, std::int64_t value_size);

// n query heads in g groups over `ranks`: consecutive shares that differ by at most one query head; a share may be
// empty. n is a multiple of g.
std::vector<HeadShare> share_heads(std::int64_t n, std::int64_t g, int ranks);

// The shares cut into at most `wanted` parts, each with its slice of every share, so that the exchange of one part can
// hide behind the attention of another: the largest number up to `wanted` that divides every rank's key/value heads. One
// part, the shares themselves, where some share is not regular or a key/value head is in two.
std::vector<std::vector<HeadShare>> split_shares(const std::vector<HeadShare>& shares, std::int64_t heads_per_group,
                                                 int wanted);

// Whether some key/value head is in two shares.
bool heads_are_replicated(const std::vector<HeadShare>& shares);

// The local key/value head that each local query head uses: 0 .. kv.length()-1.
std::vector<std::int64_t> key_head_of_query_head(const HeadShare& share, std::int64_t heads_per_group);

// Whether attention kernels can take the share as it is: the same number of query heads for each key/value head.
bool is_regular(const HeadShare& share, std::int64_t heads_per_group);

}  // namespace ringtron
