#include "ringtron/mamba_context_parallel/scan_bytes.h"

#include <algorithm>
#include <vector>

#include "ringtron/context_parallel/plan/gqa_head_shares.h"

namespace ringtron {
namespace {

std::int64_t bytes_of_states(const ScanPlan& plan, const ScanMessages& m, int rank, bool reversed) {
  const ScanSizes& z = m.sizes;
  const auto ranks = static_cast<int>(plan.of_rank.size());
  const std::int64_t own_heads = heads_to_pass(z.heads, ranks, rank).length(), state = z.head_size * z.state_size;
  std::int64_t elements = 0, rows = 0;
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer == rank) continue;
    elements += (reversed ? plan.finals(peer) : plan.initials(peer)) * own_heads * state;
    elements += (reversed ? plan.initials(rank) : plan.finals(rank)) * heads_to_pass(z.heads, ranks, peer).length() *
                (state + 1);
  }
  for (const HaloRow& row : halo_rows(plan, m.halo_rows)) {
    const int from = reversed ? row.to_rank : row.from_rank, to = reversed ? row.from_rank : row.to_rank;
    rows += from == rank && to != rank ? 1 : 0;
  }
  return m.samples * (elements * m.state_bytes + rows * (z.inner() + 2 * z.shared()) * m.element_bytes);
}

}  // namespace

PositionRange heads_to_pass(std::int64_t heads, int ranks, int rank) {
  return {heads * rank / ranks, heads * (rank + 1) / ranks};
}

ScanBytes scan_bytes(const ScanPlan& plan, const ScanMessages& m, int rank) {
  return {bytes_of_states(plan, m, rank, false), bytes_of_states(plan, m, rank, true)};
}

ScanBytes scan_bytes(const SequenceLayout& layout, ScanWay way, const ScanMessages& m, int rank) {
  if (layout.ranks() == 1) return {};
  if (way == ScanWay::states) return scan_bytes(scan_plan(layout, 1, {}), m, rank);
  const ScanSizes& z = m.sizes;
  const std::vector<HeadShare> shares = share_heads(z.heads, z.groups, layout.ranks());
  const std::int64_t own_rows = layout.local_length(rank);
  // Of a row: what goes in for a share of heads, and what comes out.
  const auto in = [&](const HeadShare& s) {
    return s.q.length() * (z.head_size + 1) + s.kv.length() * 2 * z.state_size;
  };
  const auto out = [&](const HeadShare& s) { return s.q.length() * z.head_size; };
  const HeadShare& own = shares[static_cast<std::size_t>(rank)];
  ScanBytes elements;
  for (int peer = 0; peer < layout.ranks(); ++peer) {
    if (peer == rank) continue;
    const HeadShare& theirs = shares[static_cast<std::size_t>(peer)];
    const std::int64_t their_rows = layout.local_length(peer);
    elements.forward += own_rows * in(theirs) + their_rows * out(own);
    elements.backward += own_rows * out(theirs) + their_rows * in(own);
  }
  const std::int64_t each = m.samples * m.element_bytes;
  return {elements.forward * each, elements.backward * each};
}

}  // namespace ringtron
