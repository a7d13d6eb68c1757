#include "ringtron/context_parallel/plan_check.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>

namespace ringtron {
namespace {

// What a rank holds between two steps.
struct Holding {
  int key_value = 0;                       // owner of the block
  std::optional<int> gradient;             // owner of the sum, if one is held
  std::multiset<int> contributors;         // ranks that have added to it
};

class Player {
 public:
  Player(const SequenceLayout& layout, bool causal) : layout_(layout), causal_(causal) {}

  // Plays one pass; `holdings` are those at its beginning and become those at its end.
  void play(const std::vector<ExchangePlan>& plans, std::vector<Holding>& holdings, bool backward) {
    pass_ = backward ? "backward" : "forward";
    full_.clear();
    triangle_.clear();
    if (static_cast<int>(plans.size()) != layout_.ranks()) {
      return fault("expected one plan for each of {} ranks, got {}", layout_.ranks(), plans.size());
    }
    for (const ExchangePlan& plan : plans) {
      if (plan.steps.size() != plans[0].steps.size()) {
        return fault("rank {} has {} steps, rank 0 has {}", plan.rank, plan.steps.size(), plans[0].steps.size());
      }
    }
    for (std::size_t i = 0; i < plans[0].steps.size(); ++i) {
      match_messages(plans, i);
      std::vector<Holding> next = holdings;
      for (const ExchangePlan& plan : plans) {
        next[plan.rank] = play_step(plan, i, holdings, backward);
      }
      holdings = std::move(next);
    }
    check_cells();
  }

  template <class... Args>
  void fault(fmt::format_string<Args...> format, Args&&... args) {
    faults_.push_back(pass_ + ": " + fmt::format(format, std::forward<Args>(args)...));
  }

  std::vector<std::string> take_faults() { return std::move(faults_); }

 private:
  void match_messages(const std::vector<ExchangePlan>& plans, std::size_t i) {
    std::map<std::pair<int, int>, std::vector<std::pair<Payload, int>>> sent, received;
    for (const ExchangePlan& plan : plans) {
      const Step& step = plan.steps[i];
      for (const Message& m : step.sends) sent[{plan.rank, m.peer}].push_back({m.payload, m.owner});
      for (const Message& m : step.receives) received[{m.peer, plan.rank}].push_back({m.payload, m.owner});
      if (step.communicates() != plans[0].steps[i].communicates()) {
        fault("step {}: rank {} and rank 0 do not both communicate", i, plan.rank);
      }
      std::set<Payload> kinds;
      for (const Message& m : step.receives) {
        if (!kinds.insert(m.payload).second) fault("step {}: rank {} receives two blocks of a kind", i, plan.rank);
      }
    }
    for (const auto& [pair, messages] : sent) {
      if (pair.first == pair.second) fault("step {}: rank {} sends to itself", i, pair.first);
      if (received[pair] != messages) {
        fault("step {}: what rank {} sends to rank {} is not what that one receives", i, pair.first, pair.second);
      }
    }
    for (const auto& [pair, messages] : received) {
      if (!messages.empty() && !sent.contains(pair)) {
        fault("step {}: rank {} receives from rank {}, which sends it nothing", i, pair.second, pair.first);
      }
    }
  }

  Holding play_step(const ExchangePlan& plan, std::size_t i, const std::vector<Holding>& before, bool backward) {
    const Step& step = plan.steps[i];
    const Holding& held = before[plan.rank];
    if (held.key_value != step.owner) {
      fault("step {}: rank {} attends to the block of rank {} but holds that of rank {}", i, plan.rank, step.owner,
            held.key_value);
    }
    for (const Message& m : step.sends) {
      const bool has = m.payload == Payload::key_value ? held.key_value == m.owner : held.gradient == m.owner;
      if (!has) fault("step {}: rank {} sends a block of rank {} that it does not hold", i, plan.rank, m.owner);
    }
    for (const Attend& attend : step.attends) count_cells(plan.rank, step.owner, attend);
    Holding after;
    after.key_value = held.key_value;
    if (backward) after.gradient = step.owner;
    for (const Message& m : step.receives) {
      if (m.payload == Payload::key_value) {
        after.key_value = m.owner;
      } else {
        if (m.owner != step.owner) fault("step {}: rank {} receives a gradient of another block", i, plan.rank);
        after.contributors = before[m.peer].contributors;
      }
    }
    if (backward) after.contributors.insert(plan.rank);
    return after;
  }

  void count_cells(int rank, int owner, const Attend& attend) {
    const std::vector<Chunk>& queries = layout_.of(rank);
    const std::vector<Chunk>& keys = layout_.of(owner);
    if (attend.q.first + attend.q.count > static_cast<int>(queries.size()) ||
        attend.kv.first + attend.kv.count > static_cast<int>(keys.size())) {
      return fault("rank {} attends to chunks that it or rank {} does not have", rank, owner);
    }
    if (attend.mask == MaskKind::causal && (rank != owner || !(attend.q == attend.kv))) {
      return fault("rank {} puts a causal mask between different chunks", rank);
    }
    for (int a = 0; a < attend.q.count; ++a) {
      for (int b = 0; b < attend.kv.count; ++b) {
        const std::pair cell{queries[attend.q.first + a].number, keys[attend.kv.first + b].number};
        // The causal mask works on rows: a later row block sees an earlier one fully, whatever the chunk numbers say.
        if (attend.mask == MaskKind::none || a > b) ++full_[cell];
        if (attend.mask == MaskKind::causal && a == b) ++triangle_[cell];
      }
    }
  }

  void check_cells() {
    for (int q = 0; q < layout_.chunk_count(); ++q) {
      for (int kv = 0; kv < layout_.chunk_count(); ++kv) {
        const int want_full = causal_ ? (q > kv) : 1;
        const int want_triangle = causal_ && q == kv ? 1 : 0;
        const int full = full_[{q, kv}], triangle = triangle_[{q, kv}];
        if (full != want_full || triangle != want_triangle) {
          fault("query chunk {} x key chunk {}: expected {} full and {} triangle, got {} and {}", q, kv, want_full,
                want_triangle, full, triangle);
        }
      }
    }
  }

  const SequenceLayout& layout_;
  bool causal_;
  std::string pass_;
  std::map<std::pair<int, int>, int> full_, triangle_;
  std::vector<std::string> faults_;
};

}  // namespace

PlanPair plan_p2p_all_ranks(const SequenceLayout& layout, bool causal) {
  PlanPair plans;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    plans.forward.push_back(plan_p2p_forward(layout, causal, rank));
    plans.backward.push_back(plan_p2p_backward(layout, causal, rank));
  }
  return plans;
}

std::vector<std::string> check_plans(const SequenceLayout& layout, const PlanPair& plans, bool causal) {
  Player player(layout, causal);
  std::vector<Holding> holdings(static_cast<std::size_t>(layout.ranks()));
  for (int rank = 0; rank < layout.ranks(); ++rank) holdings[rank].key_value = rank;
  player.play(plans.forward, holdings, false);
  player.play(plans.backward, holdings, true);
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    if (holdings[rank].gradient != rank) player.fault("rank {} does not end with its own gradient", rank);
    for (int from = 0; from < layout.ranks(); ++from) {
      const auto count = holdings[rank].contributors.count(from);
      if (count != 1) player.fault("the gradient of rank {} has {} contributions of rank {}", rank, count, from);
    }
  }
  return player.take_faults();
}

std::int64_t p2p_bytes_closed_form(int ranks, std::int64_t key_value_bytes, std::int64_t gradient_bytes) {
  return (ranks - 1) * (2 * key_value_bytes + gradient_bytes);
}

}  // namespace ringtron
