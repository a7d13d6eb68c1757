#include "ringtron/context_parallel/plan/head_shares.h"

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {

HeadCut cut_in_three(std::int64_t groups, bool divides, bool filler) {
  if (!divides) return {groups, groups};
  const std::int64_t middle = (groups + 1) / 2, given = filler ? groups / 8 : 0;
  return {middle - given, middle + given};
}

HeadCut cut_in_two(std::int64_t groups, bool filler) {
  const std::int64_t last = filler ? groups / 2 : 0;
  return {0, last};
}

HeadShare part_of(HeadPart part, std::int64_t heads, std::int64_t groups, const HeadCut& cut) {
  // An uneven number of query heads is cut nowhere but at its ends.
  const auto query = [&](std::int64_t group) { return group < groups ? group * (heads / groups) : heads; };
  const auto from = [&](std::int64_t begin, std::int64_t end) { return HeadShare{{query(begin), query(end)}, {begin, end}}; };
  switch (part) {
    case HeadPart::all:
      break;
    case HeadPart::first:
      return from(0, cut.filler);
    case HeadPart::filler:
      return from(cut.filler, cut.last);
    case HeadPart::last:
      return from(cut.last, groups);
  }
  return {{0, heads}, {0, groups}};
}

bool pays_to_cut(std::int64_t groups, std::int64_t key_size, std::int64_t value_size) {
  constexpr std::int64_t kSmallRow = 8 * (128 + 128);
  return groups * (key_size + value_size) > kSmallRow;
}

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

std::vector<std::vector<HeadShare>> split_shares(const std::vector<HeadShare>& shares, std::int64_t heads_per_group,
                                                 int wanted) {
  const auto divides = [&](int parts) {
    return std::all_of(shares.begin(), shares.end(), [&](const HeadShare& share) {
      return share.kv.length() % parts == 0 && share.q.length() == share.kv.length() * heads_per_group;
    });
  };
  int parts = std::max(wanted, 1);
  while (parts > 1 && !divides(parts)) --parts;
  std::vector<std::vector<HeadShare>> split(static_cast<std::size_t>(parts), shares);
  for (int i = 0; i < parts && parts > 1; ++i) {
    for (HeadShare& share : split[static_cast<std::size_t>(i)]) {
      const std::int64_t q = share.q.length() / parts, kv = share.kv.length() / parts;
      share.q = {share.q.begin + i * q, share.q.begin + (i + 1) * q};
      share.kv = {share.kv.begin + i * kv, share.kv.begin + (i + 1) * kv};
    }
  }
  return split;
}

}  // namespace ringtron
