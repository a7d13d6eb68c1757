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

// Which heads an attend of a plan computes: all, or a part of the key/value heads with the query heads that use them; results of
// parts need no sum. A plan says what parts are for, the cut below how large they are.
enum class HeadPart {
  all,
  first,   // hides a message that comes before what follows can begin
  filler,  // waits for no message and hides none: fills the end of the attend before it
  last,    // hides a message that can leave only when the attends before are done
};

// Key/value heads [0, filler) are the first part, [filler, last) the filler, and those from `last` on the last part. Parts may be
// empty.
struct HeadCut {
  std::int64_t filler = 0, last = 0;
};

// Of an attend in all three parts: halves, each of which gives an eighth of all, rounded down, to the filler if that is wanted. The
// first has the odd head, and all where heads do not divide.
HeadCut cut_in_three(std::int64_t groups, bool divides, bool filler);
// Of one without a first part: the filler is a half if it is wanted.
HeadCut cut_in_two(std::int64_t groups, bool filler);

// The heads of a part, of `heads` query heads in `groups`.
HeadShare part_of(HeadPart part, std::int64_t heads, std::int64_t groups, const HeadCut& cut);

// Whether parts gain more on a GPU, by what they hide and fill, than another call of attention costs: not with few key/value
// heads, whose messages are short. On two H200, ring, 8,192 rows: 4 heads of 128 were 0.6% slower in halves, 32 were 1.3% faster.
bool pays_to_cut(std::int64_t groups, std::int64_t key_size, std::int64_t value_size);

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
