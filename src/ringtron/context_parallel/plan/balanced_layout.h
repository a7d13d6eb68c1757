// The layout that divides the work of attention evenly for the masks at hand, and the choice of a layout.
#pragma once

#include <cstdint>
#include <span>

#include "ringtron/choices/choices.h"
#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

// The coarsest division found in which no rank has more than 1.05 times the mean area. First one or two chunks a rank;
// then, where all samples have the same documents, whole documents, of which only the longest are cut over all ranks
// (document_division.h); then classes of `ranks` neighbouring chunks of equal length, of which every rank gets one, the
// largest areas to the ranks with the least, with more and smaller chunks down to 32 positions (but for very short
// sequences). Shards differ by at most `multiple` positions. The area is that of all `masks` together: the samples of
// one micro-batch. The same on all ranks by construction. All masks have one length.
SequenceLayout balanced_layout(std::span<const AttentionMask> masks, int ranks, std::int64_t multiple = 1);

// `masks` is not empty.
SequenceLayout make_layout(CpLayout layout, std::span<const AttentionMask> masks, int ranks, std::int64_t multiple = 1);

// Largest area of a rank's queries divided by the mean: 1 is perfect balance.
double area_imbalance(const SequenceLayout& layout, std::span<const AttentionMask> masks);

// The same under transports, of the most uneven one: ranks that share heads have the positions of all of them, so that
// only what is left of the layout can be uneven. 1 without any. `hierarchical_a` as for head_ranks_of().
double area_imbalance(const SequenceLayout& layout, std::span<const AttentionMask> masks,
                      std::span<const CpTransport> transports, int hierarchical_a);

}  // namespace ringtron
