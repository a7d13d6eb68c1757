#include "ringtron/context_parallel/plan/gqa_head_shares.h"

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {

std::vector<HeadShare> share_heads(std::int64_t n, std::int64_t g, int ranks) {
  RT_CHECK(n > 0 && g > 0 && n % g == 0 && ranks > 0, "{} query heads in {} groups over {} ranks", n, g, ranks);
  const std::int64_t per_group = n / g;
  std::vector<HeadShare> shares;
  for (int rank = 0; rank < ranks; ++rank) {
    // Cut at fractions of the whole: shares then end with groups as often as they can.
    const std::int64_t begin = n * rank / ranks, end = n * (rank + 1) / ranks;
    HeadShare share{{begin, end}, {begin / per_group, (end + per_group - 1) / per_group}};
    if (begin == end) share.kv.end = share.kv.begin;
    shares.push_back(share);
  }
  return shares;
}

bool heads_are_replicated(const std::vector<HeadShare>& shares) {
  std::int64_t end = 0;  // of the heads so far
  for (const HeadShare& share : shares) {
    if (share.kv.empty()) continue;
    if (share.kv.begin < end) return true;
    end = share.kv.end;
  }
  return false;
}

std::vector<std::int64_t> key_head_of_query_head(const HeadShare& share, std::int64_t heads_per_group) {
  std::vector<std::int64_t> heads;
  for (std::int64_t q = share.q.begin; q < share.q.end; ++q) heads.push_back(q / heads_per_group - share.kv.begin);
  return heads;
}

bool is_regular(const HeadShare& share, std::int64_t heads_per_group) {
  const std::int64_t n = share.q.length(), g = share.kv.length();
  if (n == 0 || n % g != 0) return n == 0;
  const std::vector<std::int64_t> used = key_head_of_query_head(share, heads_per_group);
  for (std::int64_t i = 0; i < n; ++i) {
    if (used[static_cast<std::size_t>(i)] != i / (n / g)) return false;
  }
  return true;
}

}  // namespace ringtron
