// Proves that the plans of all ranks together compute attention, without running them.
//
// Plays the steps of all ranks at once over names instead of tensors: who holds which block, which ranks have added to a
// gradient sum, which cells of the mask were attended.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/context_parallel/exchange_plan.h"

namespace ringtron {

// One plan per rank, in rank order.
struct PlanPair {
  std::vector<ExchangePlan> forward;
  std::vector<ExchangePlan> backward;
};

PlanPair plan_p2p_all_ranks(const SequenceLayout& layout, bool causal);

// What is wrong, one line each; empty when it is proven that, in both passes,
//  - in every step the sends of each rank to each other equal that one's receives, in order, and either all ranks
//    communicate or none;
//  - a rank sends and attends only what it holds; at most one block of each payload arrives per step (two buffers);
//  - every (query chunk, key chunk) cell of the mask is attended exactly once, the diagonal as a triangle, and no other;
//  - the backward begins with the block the forward ended with, and every rank's gradient sum ends at home with exactly
//    one contribution of every rank.
std::vector<std::string> check_plans(const SequenceLayout& layout, const PlanPair& plans, bool causal);

// Closed form of what each rank of the ring sends, forward and backward together:
// (n - 1) (2 key_value_bytes + gradient_bytes).
std::int64_t p2p_bytes_closed_form(int ranks, std::int64_t key_value_bytes, std::int64_t gradient_bytes);

}  // namespace ringtron
