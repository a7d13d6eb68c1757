// Proves that the schedules of all ranks together compute attention, without running them.
//
// Simulates the operations of all ranks at once over names instead of tensors: which rows of which buffers are there,
// which launches have been added to the gradient of a row, which cells of the mask were computed and merged. It knows
// nothing of how a schedule was made, so it proves any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ringtron/context_parallel/plan/gqa_head_shares.h"
#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/context_parallel/schedule/lower.h"
#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron {

// Of all ranks of the whole context-parallel group, in rank order.
std::vector<RankSchedules> make_schedules(const PlanRequest& request, CpTransport transport, int hierarchical_a,
                                          const LoweringFacts& facts);

// What is wrong, one line each, with pass, operation and rank; empty when it is proven that, in both passes,
//  - all ranks have the same number of exchanges; of each one the sends of every rank to every other equal that one's
//    receives, in order; each is waited for once, after it began. Exchanges are grouped and come in one order, so
//    nobody waits in a circle;
//  - messages stay among the ranks that hold the same share of the heads, and every pass that shares heads begins with
//    the exchange to heads and ends with the one back;
//  - nothing is read that is not complete: not before it was copied there, or its exchange was waited for; nothing is
//    written while a message reads it; no buffer is used after its release, and none is released while it is sent;
//  - every launch is merged exactly once, and every cell of every sample's mask is merged exactly once, and no other
//  cell;
//  - a varlen batch is one that a kernel can compute in one call (varlen_batches.h);
//  - the gradient of every row ends at its owner and holds what each launch that read the row gave exactly once;
//  - a backward begins with the keys and values that the forward saved;
//  - no rank holds more rows than its schedule promises (Schedule::peak).
std::vector<std::string> check_schedules(std::span<const RankSchedules> ranks, const PlanRequest& request);

// Makes the schedules, with varlen batches and without, and proves them as above, and besides that
//  - the shares of the heads (check_head_shares);
//  - that no group holds more blocks than its transport's row says (TransportRow::held): of p2p, a2a and a2a+p2p two of
//    others, the current and the arriving one, and four of gradients, the result, the current one, the one that leaves
//    and the arriving one;
//  - for dense masks, equal shards and heads that divide, that the bytes sent are those of the closed form.
struct TransportProof {
  std::vector<std::string> faults;
  std::int64_t operations = 0;  // of all schedules that were looked at
};
TransportProof check_transport(const PlanRequest& request, CpTransport transport, int hierarchical_a,
                               std::int64_t heads, std::int64_t groups);

// Every query head is in exactly one share, and every share has the key/value heads that its query heads use.
std::vector<std::string> check_head_shares(const std::vector<HeadShare>& shares, std::int64_t heads,
                                           std::int64_t groups);

}  // namespace ringtron
