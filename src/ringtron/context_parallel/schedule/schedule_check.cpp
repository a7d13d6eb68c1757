#include "ringtron/context_parallel/schedule/schedule_check.h"

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/schedule/fault_list.h"
#include "ringtron/context_parallel/schedule/schedule_simulator.h"
#include "ringtron/context_parallel/schedule/varlen_batches.h"

namespace ringtron {
namespace {

// Whether the schedules are of the layout of the request, so that playing them makes sense.
bool schedules_agree(std::span<const RankSchedules> ranks, const SequenceLayout& layout, FaultList& faults) {
  if (static_cast<int>(ranks.size()) != layout.ranks()) {
    faults.add("expected {} schedules, got {}", layout.ranks(), ranks.size());
    return false;
  }
  const std::size_t members = ranks.front().forward.heads.size();
  if (members == 0 || ranks.size() % members != 0) {
    faults.add("{} ranks that share heads do not divide {} ranks", members, layout.ranks());
    return false;
  }
  const SequenceLayout inner = layout.merged(static_cast<int>(members));
  bool agree = true;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const Schedule* schedule : {&ranks[rank].forward, &ranks[rank].backward}) {
      const bool forward = schedule == &ranks[rank].forward;
      const bool fits = schedule->pass == (forward ? Pass::forward : Pass::backward) && schedule->layout == inner &&
                        schedule->rank == static_cast<int>(rank / members) &&
                        schedule->heads == ranks.front().forward.heads && schedule->given >= 0 &&
                        schedule->given < static_cast<int>(schedule->buffers.size());
      if (!fits)
        faults.add("rank {}: pass, rank, layout, heads or given buffer differ from rank 0 or from the request", rank);
      agree = agree && fits;
    }
  }
  return agree;
}

bool hold_the_same(const Buffer& a, const Buffer& b) {
  const auto rows = [](Buffer buffer) {
    std::erase_if(buffer.rows, [](const PositionRange& range) { return range.empty(); });
    return buffer.rows;
  };
  return a.content == b.content && a.owner == b.owner && rows(a) == rows(b);
}

void check_saved(std::span<const RankSchedules> ranks, FaultList& faults) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto& [forward, backward] = ranks[rank];
    const Buffer& given = backward.buffer(backward.given);
    const bool exists = forward.saved >= 0 && forward.saved < static_cast<int>(forward.buffers.size());
    if (exists && hold_the_same(forward.buffer(forward.saved), given)) continue;
    faults.add("rank {}: the backward begins with keys and values of rank {} that the forward does not save", rank,
               given.owner);
  }
}

bool has_closed_form(const PlanRequest& request, int head_ranks, std::int64_t heads, std::int64_t groups) {
  bool has = heads % head_ranks == 0 && groups % head_ranks == 0;
  has = has && request.masks.size() == 1 && request.masks.front().dense();
  for (int rank = 0; rank < request.layout.ranks(); ++rank) {
    has = has && request.layout.local_length(rank) == request.layout.local_length(0);
  }
  return has;
}

void check_bytes(std::span<const RankSchedules> ranks, const PlanRequest& request, std::int64_t heads,
                 std::int64_t groups, std::vector<std::string>& faults) {
  // Sizes without common factors, so that no mistake hides.
  const AttentionShape shape{3, heads, groups, 5, 7, 2, 4};
  const int members = static_cast<int>(ranks.front().forward.heads.size());
  const TransportBytes expected =
      closed_form_bytes(request.layout.ranks(), members, request.layout.sequence_length(), shape);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const TransportBytes got = bytes_of(ranks[rank], request.layout, static_cast<int>(rank), shape);
    if (got == expected) continue;
    faults.push_back(fmt::format("bytes of rank {}: expected {} forward and {} backward, got {} and {}", rank,
                                 expected.forward, expected.backward, got.forward, got.backward));
  }
}

void check_memory(std::span<const RankSchedules> ranks, const HeldBlocks& held, std::vector<std::string>& faults) {
  const SequenceLayout& layout = ranks.front().forward.layout;
  std::int64_t block = 0;
  for (int rank = 0; rank < layout.ranks(); ++rank) block = std::max(block, layout.local_length(rank));
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const Schedule* schedule : {&ranks[rank].forward, &ranks[rank].backward}) {
      const PeakRows& peak = schedule->peak;
      if (peak.key_value <= held.key_value * block && peak.gradient <= held.gradient * block) continue;
      faults.push_back(fmt::format(
          "memory of rank {}: expected at most {} blocks of {} rows of other ranks and {} of gradients at once, "
          "got {} and {} rows",
          rank, held.key_value, block, held.gradient, peak.key_value, peak.gradient));
    }
  }
}

}  // namespace

std::vector<RankSchedules> make_schedules(const PlanRequest& request, CpTransport transport, int hierarchical_a,
                                          const LoweringFacts& facts) {
  std::vector<RankSchedules> ranks;
  for (int rank = 0; rank < request.layout.ranks(); ++rank) {
    ranks.push_back(lower(make_transport_plan(transport, hierarchical_a, request, rank), facts));
  }
  return ranks;
}

std::vector<std::string> check_schedules(std::span<const RankSchedules> ranks, const PlanRequest& request) {
  RT_CHECK(!request.masks.empty(), "schedules without a mask");
  FaultList faults;
  if (!schedules_agree(ranks, request.layout, faults)) return faults.take();
  check_saved(ranks, faults);
  const std::size_t members = ranks.front().forward.heads.size();
  for (std::size_t member = 0; member < members; ++member) {
    std::vector<const Schedule*> forward, backward;
    for (std::size_t rank = member; rank < ranks.size(); rank += members) {
      forward.push_back(&ranks[rank].forward);
      backward.push_back(&ranks[rank].backward);
    }
    for (auto& pass : {forward, backward}) {
      ScheduleSimulator(pass, request.masks, static_cast<int>(members), static_cast<int>(member), faults).run();
    }
  }
  return faults.take();
}

TransportProof check_transport(const PlanRequest& request, CpTransport transport, int hierarchical_a,
                               std::int64_t heads, std::int64_t groups) {
  TransportProof proof;
  std::vector<std::string>& faults = proof.faults;
  const auto keep = [&](std::vector<std::string> more) { faults.insert(faults.end(), more.begin(), more.end()); };
  for (const bool varlen : {false, true}) {
    const std::vector<RankSchedules> ranks =
        make_schedules(request, transport, hierarchical_a, {heads, groups, varlen, varlen});
    for (const auto& [forward, backward] : ranks)
      proof.operations += std::ssize(forward.operations) + std::ssize(backward.operations);
    keep(check_schedules(ranks, request));
    if (const auto& held = transport.row().held) check_memory(ranks, *held, faults);
    const std::vector<HeadShare>& shares = ranks.front().forward.heads;
    keep(check_head_shares(shares, heads, groups));
    if (has_closed_form(request, static_cast<int>(shares.size()), heads, groups))
      check_bytes(ranks, request, heads, groups, faults);
  }
  return proof;
}

std::vector<std::string> check_head_shares(const std::vector<HeadShare>& shares, std::int64_t heads,
                                           std::int64_t groups) {
  FaultList faults;
  std::vector<int> count(static_cast<std::size_t>(heads), 0);
  for (std::size_t rank = 0; rank < shares.size(); ++rank) {
    const HeadShare& share = shares[rank];
    const bool exists = share.q.begin >= 0 && share.q.end <= heads && share.kv.begin >= 0 && share.kv.end <= groups;
    if (!exists) {
      faults.add(
          "head share {}: expected query heads below {} and key/value heads below {}, got [{}-{}) and "
          "[{}-{})",
          rank, heads, groups, share.q.begin, share.q.end, share.kv.begin, share.kv.end);
      continue;
    }
    for (std::int64_t q = share.q.begin; q < share.q.end; ++q) {
      ++count[static_cast<std::size_t>(q)];
      const std::int64_t kv = q / (heads / groups);
      if (kv < share.kv.begin || kv >= share.kv.end) {
        faults.add("head share {}: query head {} uses key/value head {}, which is not in [{}-{})", rank, q, kv,
                   share.kv.begin, share.kv.end);
      }
    }
  }
  for (std::size_t q = 0; q < count.size(); ++q) {
    if (count[q] != 1) faults.add("query head {} is in {} head shares", q, count[q]);
  }
  return faults.take();
}

}  // namespace ringtron
