#include "ringtron/context_parallel/plan/plan_check.h"

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/plan/plan_player.h"

namespace ringtron {
namespace {

bool same_steps(const ExchangePlan& a, const ExchangePlan& b) {
  return std::equal(a.steps.begin(), a.steps.end(), b.steps.begin(), b.steps.end(),
                    [](const Step& x, const Step& y) {
                      return x.communicates == y.communicates && x.sends == y.sends &&
                             x.receives == y.receives && x.attends == y.attends;
                    });
}

bool same_steps(const std::vector<ExchangePlan>& a, const std::vector<ExchangePlan>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const ExchangePlan& x, const ExchangePlan& y) { return same_steps(x, y); });
}

// The ranks that hold the same share of the heads: every `head_ranks`-th one. Among themselves they are ranks
// 0, 1, ...
struct Slice {
  std::vector<ExchangePlan> forward, backward;
};

ExchangePlan with_peers_of_slice(ExchangePlan plan, int slice, int head_ranks, const char* pass,
                                 FaultList& faults) {
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const auto rename = [&](Message& message) {
      if (message.peer < 0 || message.peer % head_ranks != slice) {
        faults.add("{} step {}: rank {} has a message with rank {}, which does not hold its heads", pass, i,
                   plan.rank * head_ranks + slice, message.peer);
      }
      message.peer = message.peer < 0 ? message.peer : message.peer / head_ranks;
    };
    std::for_each(plan.steps[i].sends.begin(), plan.steps[i].sends.end(), rename);
    std::for_each(plan.steps[i].receives.begin(), plan.steps[i].receives.end(), rename);
  }
  return plan;
}

// Parts of an attend come once each, the last after the others: after a filler, and in a plan that gathers a first one, which
// a ring has not (cut_in_three, cut_in_two). A forward has none, since its results are merged by rows.
void check_parts(const ExchangePlan& plan, bool forward, FaultList& faults) {
  std::vector<Attend> waiting;  // parts whose last has not come
  const auto fault = [&](const Attend& attend, const char* what) {
    faults.add("{}: rank {} attends to q [{}-{}) x kv of {} [{}-{}) with {}", forward ? "forward" : "backward", plan.rank,
               attend.q.begin, attend.q.end, attend.owner, attend.kv.begin, attend.kv.end, what);
  };
  for (const Step& step : plan.steps) {
    for (const Attend& attend : step.attends) {
      if (attend.heads == HeadPart::all) continue;
      const auto same = [&](const Attend& other) { return of_all_heads(other) == of_all_heads(attend); };
      if (forward) {
        fault(attend, "a part of the heads");
      } else if (attend.heads == HeadPart::last) {
        if (std::erase_if(waiting, same) != (plan.gathers ? 2 : 1)) fault(attend, "the last part of the heads before another");
      } else if (std::ranges::find(waiting, attend) != waiting.end()) {
        fault(attend, "one part of the heads twice");
      } else if (attend.heads == HeadPart::first && !plan.gathers) {
        fault(attend, "a first part of the heads, which is empty here");
      } else {
        waiting.push_back(attend);
      }
    }
  }
  for (const Attend& attend : waiting) fault(attend, "a part of the heads and not the last");
}

bool have_part(const std::vector<ExchangePlan>& plans, HeadPart part) {
  return std::ranges::any_of(plans, [&](const ExchangePlan& plan) {
    return std::ranges::any_of(plan.steps, [&](const Step& step) {
      return std::ranges::find(step.attends, part, &Attend::heads) != step.attends.end();
    });
  });
}

// What the plans do for one part of the heads.
std::vector<ExchangePlan> of_part(std::vector<ExchangePlan> plans, HeadPart part) {
  for (ExchangePlan& plan : plans) {
    for (Step& step : plan.steps) {
      std::erase_if(step.attends, [&](const Attend& attend) { return attend.heads != HeadPart::all && attend.heads != part; });
      std::transform(step.attends.begin(), step.attends.end(), step.attends.begin(), of_all_heads);
    }
  }
  return plans;
}

std::vector<Slice> slices_of(const PlansOfRanks& all, int head_ranks, FaultList& faults) {
  std::vector<Slice> slices(static_cast<std::size_t>(head_ranks));
  for (std::size_t rank = 0; rank < all.plans.size(); ++rank) {
    const int slice = static_cast<int>(rank) % head_ranks;
    Slice& into = slices[static_cast<std::size_t>(slice)];
    const TransportPlan& plan = all.plans[rank];
    into.forward.push_back(with_peers_of_slice(plan.forward, slice, head_ranks, "forward", faults));
    into.backward.push_back(with_peers_of_slice(plan.backward, slice, head_ranks, "backward", faults));
  }
  return slices;
}

// Whether the plans are of the same transport and of the layout, so that playing them makes sense.
bool plans_agree(const PlansOfRanks& all, const SequenceLayout& layout, FaultList& faults) {
  if (static_cast<int>(all.plans.size()) != layout.ranks()) {
    faults.add("expected {} plans, got {}", layout.ranks(), all.plans.size());
    return false;
  }
  const TransportPlan& first = all.plans.front();
  if (first.head_ranks < 1 || layout.ranks() % first.head_ranks != 0) {
    faults.add("{} ranks that share heads do not divide {} ranks", first.head_ranks, layout.ranks());
    return false;
  }
  const SequenceLayout inner = layout.merged(first.head_ranks);
  bool agree = true;
  for (std::size_t rank = 0; rank < all.plans.size(); ++rank) {
    const TransportPlan& plan = all.plans[rank];
    if (plan.transport != first.transport || plan.ranks != layout.ranks() ||
        plan.head_ranks != first.head_ranks || plan.keeps_last_block != first.keeps_last_block ||
        !(plan.inner == inner)) {
      faults.add("rank {}: transport, sizes, layout or what is kept differ from rank 0 or from the request",
                 rank);
      agree = false;
    }
  }
  return agree;
}

void check_memory(const PlanMemory& memory, std::vector<std::string>& faults) {
  if (memory.foreign_rows > 2 * memory.longest_block) {
    faults.push_back(
        fmt::format("memory: expected at most two blocks of {} rows of other ranks at once, got {} rows",
                    memory.longest_block, memory.foreign_rows));
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

void check_bytes(const PlansOfRanks& all, const PlanRequest& request, std::int64_t heads, std::int64_t groups,
                 std::vector<std::string>& faults) {
  // Sizes without common factors, so that no mistake hides.
  const AttentionShape shape{3, heads, groups, 5, 7, 2, 3, 4};
  for (std::size_t rank = 0; rank < all.plans.size(); ++rank) {
    const TransportPlan& plan = all.plans[rank];
    const TransportBytes expected = closed_form_bytes(plan.transport, plan.ranks, plan.head_ranks,
                                                      request.layout.sequence_length(), shape);
    const TransportBytes got = bytes_of(plan, request.layout, shape, static_cast<int>(rank));
    if (got == expected) continue;
    faults.push_back(fmt::format("bytes of rank {}: expected {} forward and {} backward, got {} and {}", rank,
                                 expected.forward, expected.backward, got.forward, got.backward));
  }
}

}  // namespace

PlansOfRanks make_plans(const PlanRequest& request, CpTransport transport, int hierarchical_a) {
  PlansOfRanks all;
  for (int rank = 0; rank < request.layout.ranks(); ++rank) {
    all.plans.push_back(make_transport_plan(transport, hierarchical_a, request, rank));
  }
  return all;
}

std::vector<std::string> check_plans(const PlansOfRanks& all, const PlanRequest& request,
                                     PlanMemory* memory) {
  RT_CHECK(!request.masks.empty(), "plans without a mask");
  FaultList faults;
  if (!plans_agree(all, request.layout, faults)) return faults.take();
  const int head_ranks = all.plans.front().head_ranks;
  const SequenceLayout inner = request.layout.merged(head_ranks);
  const std::vector<Slice> slices = slices_of(all, head_ranks, faults);
  PlanMemory used;
  for (int rank = 0; rank < inner.ranks(); ++rank) {
    used.longest_block = std::max(used.longest_block, inner.local_length(rank));
  }
  for (const Slice& slice : slices) {
    for (const ExchangePlan& plan : slice.forward) check_parts(plan, true, faults);
    for (const ExchangePlan& plan : slice.backward) check_parts(plan, false, faults);
  }
  std::vector<Slice> proven;
  for (const HeadPart part : {HeadPart::last, HeadPart::first, HeadPart::filler}) {
    for (std::size_t i = 0; i < slices.size(); ++i) {
      // A ring has no first part, and windows have no parts at all.
      if (part != HeadPart::last && !have_part(slices[i].backward, part)) continue;
      // Most do the same with other heads; one that does is proven by the other.
      Slice heads{of_part(slices[i].forward, part), of_part(slices[i].backward, part)};
      const auto same = [&](const Slice& other) {
        return same_steps(heads.forward, other.forward) && same_steps(heads.backward, other.backward);
      };
      if (std::any_of(proven.begin(), proven.end(), same)) continue;
      PlanPlayer player(inner, request.masks, head_ranks, static_cast<int>(i), faults);
      player.play_forward(heads.forward, all.plans.front().keeps_last_block);
      player.play_backward(heads.backward);
      used.foreign_rows = std::max(used.foreign_rows, player.most_foreign_rows());
      proven.push_back(std::move(heads));
    }
  }
  if (memory) *memory = used;
  return faults.take();
}

std::vector<std::string> check_plans(const PlanRequest& request, CpTransport transport, int hierarchical_a,
                                     std::int64_t heads, std::int64_t groups) {
  const PlansOfRanks all = make_plans(request, transport, hierarchical_a);
  const int head_ranks = all.plans.front().head_ranks;
  PlanMemory memory;
  std::vector<std::string> faults = check_plans(all, request, &memory);
  if (transport != CpTransport::all_gather) check_memory(memory, faults);
  for (std::string& fault : check_head_shares(share_heads(heads, groups, head_ranks), heads, groups)) {
    faults.push_back(std::move(fault));
  }
  if (has_closed_form(request, head_ranks, heads, groups)) check_bytes(all, request, heads, groups, faults);
  return faults;
}

std::vector<std::string> check_head_shares(const std::vector<HeadShare>& shares, std::int64_t heads,
                                           std::int64_t groups) {
  FaultList faults;
  std::vector<int> count(static_cast<std::size_t>(heads), 0);
  for (std::size_t rank = 0; rank < shares.size(); ++rank) {
    const HeadShare& share = shares[rank];
    const bool exists =
        share.q.begin >= 0 && share.q.end <= heads && share.kv.begin >= 0 && share.kv.end <= groups;
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
        faults.add("head share {}: query head {} uses key/value head {}, which is not in [{}-{})", rank, q,
                   kv, share.kv.begin, share.kv.end);
      }
    }
  }
  for (std::size_t q = 0; q < count.size(); ++q) {
    if (count[q] != 1) faults.add("query head {} is in {} head shares", q, count[q]);
  }
  return faults.take();
}

}  // namespace ringtron
