// Who works with whom and on what, as lines of text: groups of ranks, positions of a sequence, batches.
//
// All functions are pure; ConfigError where the sizes do not fit together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/config/resolved_config.h"
#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/grid/process_grid.h"

namespace ringtron {

using Lines = std::vector<std::string>;

// Sizes so large that listing them would take long or counting overflow: "--num-layers 2000000 (at most 16384)", or
// empty. `given`: what `config` was resolved from, for the names. The functions below and those of describe_cost.h need
// it to be empty.
std::string beyond_counting(const Config& given, const ResolvedConfig& config);

// One line per kind of group, in the order in which Megatron creates them: how many, of which size, and their
// members, the first few of many.
Lines describe_groups(const ProcessGrid& grid, const std::vector<int>& hierarchical_sizes);

// The layout that training would use for a sample that is one document.
SequenceLayout sample_layout(const ResolvedConfig& config);

// One line per context-parallel rank: its positions, how many, and their share of the cells of the mask.
Lines describe_sequence(const ResolvedConfig& config);

Lines describe_batch(const ResolvedConfig& config, int data_parallel_size);

// "{0-3}", "{0,4}", "{0-3,8-11}"; of very many ranks the first, "{0,8,...,... 48 more}".
std::string ranks_text(const std::vector<int>& ranks);

}  // namespace ringtron
