// The ring strategy (p2p) as a list of steps.
#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/exchange_plan.h"

namespace ringtron {
namespace {

bool ascending(const std::vector<Chunk>& chunks) {
  return std::is_sorted(chunks.begin(), chunks.end(),
                        [](const Chunk& a, const Chunk& b) { return a.number < b.number; });
}

// The key/value chunks of `owner` that the query chunks of `rank` see. Both lists ascend, so what a query chunk sees of
// another rank is a prefix; neighbours with the same prefix become one rectangle. In the zigzag layout that is one
// rectangle per step: all queries x first chunk (owner < rank) or second chunk x all keys (owner > rank).
std::vector<Attend> attends_between(const SequenceLayout& layout, bool causal, int rank, int owner) {
  const std::vector<Chunk>& queries = layout.of(rank);
  const std::vector<Chunk>& keys = layout.of(owner);
  const ChunkSpan all_q{0, static_cast<int>(queries.size())};
  const ChunkSpan all_kv{0, static_cast<int>(keys.size())};
  if (!causal) return {{all_q, all_kv, MaskKind::none}};
  RT_CHECK(ascending(queries) && ascending(keys), "a causal plan needs chunks stored in ascending order; layout {}",
           layout.name());
  // A rank's own chunks form one causal square although there is a gap between them: order is all that counts.
  if (owner == rank) return {{all_q, all_kv, MaskKind::causal}};
  std::vector<Attend> attends;
  for (int i = 0; i < all_q.count; ++i) {
    const auto seen = std::count_if(keys.begin(), keys.end(),
                                    [&](const Chunk& key) { return key.number < queries[i].number; });
    if (seen == 0) continue;
    if (!attends.empty() && attends.back().kv.count == seen) {
      ++attends.back().q.count;
    } else {
      attends.push_back({{i, 1}, {0, static_cast<int>(seen)}, MaskKind::none});
    }
  }
  return attends;
}

}  // namespace

ExchangePlan plan_p2p_forward(const SequenceLayout& layout, bool causal, int rank) {
  const int n = layout.ranks();
  const int next = (rank + 1) % n, previous = (rank + n - 1) % n;
  ExchangePlan plan{rank, n, {}};
  for (int i = 0; i < n; ++i) {
    Step step;
    step.owner = (rank - i + n) % n;
    if (i + 1 < n) {
      step.sends.push_back({next, Payload::key_value, step.owner});
      step.receives.push_back({previous, Payload::key_value, (step.owner + n - 1) % n});
    }
    step.attends = attends_between(layout, causal, rank, step.owner);
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

ExchangePlan plan_p2p_backward(const SequenceLayout& layout, bool causal, int rank) {
  const int n = layout.ranks();
  const int next = (rank + 1) % n, previous = (rank + n - 1) % n;
  ExchangePlan plan{rank, n, {}};
  for (int i = 0; i < n; ++i) {
    Step step;
    step.owner = (rank + 1 + i) % n;
    if (i + 1 < n) {
      step.sends.push_back({previous, Payload::key_value, step.owner});
      step.receives.push_back({next, Payload::key_value, (step.owner + 1) % n});
    }
    if (i > 0) {
      step.sends.push_back({previous, Payload::key_value_gradient, (step.owner + n - 1) % n});
      step.receives.push_back({next, Payload::key_value_gradient, step.owner});
    }
    step.attends = attends_between(layout, causal, rank, step.owner);
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

}  // namespace ringtron
