// Proves that the plans of all ranks together compute attention, without running them.
//
// Plays the steps of all ranks at once over names instead of tensors: which rows of keys and values a rank
// holds, which attends have been added to the gradient sum of a row, which cells of the mask were attended.
// It knows nothing of how a plan was made, so it proves any plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/context_parallel/plan/head_shares.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

// One plan per rank of the whole context-parallel group, in rank order.
struct PlansOfRanks {
  std::vector<TransportPlan> plans;
};

PlansOfRanks make_plans(const PlanRequest& request, CpTransport transport, int hierarchical_a);

// How much room the plans need at most, in rows of K and V.
struct PlanMemory {
  std::int64_t foreign_rows =
      0;  // that one rank holds in a step beside its own block, arriving ones included
  std::int64_t longest_block = 0;  // rows of the longest block of one rank
};

// What is wrong, one line each, with pass, step and rank; empty when it is proven that, in both passes,
//  - in every step the sends of each rank to each other equal that one's receives, in order, and all ranks
//    communicate or none does. Messages of a step are one grouped exchange, so nobody waits in a circle;
//  - messages stay among the ranks that hold the same share of the heads;
//  - a rank sends and attends to nothing but rows that it holds at that moment: its own, those that arrived
//  in an
//    earlier step, and in the backward the block that the forward ended with, if the plan says that it is
//    kept;
//  - every cell of every sample's mask is attended to exactly once, and no other cell;
//  - the gradient sum of every row ends at its owner and holds what each attend to the row gave exactly once.
// `memory`, if given, is filled.
std::vector<std::string> check_plans(const PlansOfRanks& all, const PlanRequest& request,
                                     PlanMemory* memory = nullptr);

// Makes the plans and proves them as above, and besides that
//  - the shares of `heads` query heads in `groups` groups (check_head_shares);
//  - p2p and a2a+p2p never hold more rows of others than two blocks: the current and the arriving one;
//  - for dense masks, equal shards and heads that divide, that the bytes sent are those of the closed form.
std::vector<std::string> check_plans(const PlanRequest& request, CpTransport transport, int hierarchical_a,
                                     std::int64_t heads, std::int64_t groups);

// Every query head is in exactly one share, and every share has the key/value heads that its query heads use.
std::vector<std::string> check_head_shares(const std::vector<HeadShare>& shares, std::int64_t heads,
                                           std::int64_t groups);

}  // namespace ringtron
