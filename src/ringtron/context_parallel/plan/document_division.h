// Documents divided over ranks with as few cuts as balance allows: the part of the balanced layout for packed samples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/context_parallel/plan/attention_mask.h"

namespace ringtron::internal {

// What each rank gets, ascending; rank r has `lengths[r]` positions, all together as many as the mask.
//
// Documents of more than `whole_area` are cut into two chunks for every rank, as zigzag does. The others go whole, the
// largest first to the rank with the least area so far that has room. Then ranks with too much area give the ends of
// their longest documents, whose queries see most, to ranks with too little, for as many positions that see less, until
// no rank has more than `good_enough` times the mean or the heaviest and the lightest have nothing to trade. A document
// that stays whole needs no messages and no call of a kernel of its own; each cut costs about one call on the rank that
// gets the end.
std::vector<std::vector<PositionRange>> divide_documents(const AttentionMask& mask,
                                                         std::span<const std::int64_t> lengths, std::int64_t whole_area,
                                                         double good_enough);

}  // namespace ringtron::internal
