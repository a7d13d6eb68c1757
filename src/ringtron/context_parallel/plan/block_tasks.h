// What the strategies of exchange_plan.h share: the mask between two ranks' blocks, as rows of them.
#pragma once

#include <vector>

#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron::internal {

// The mask between a range of queries and ranges of keys, ascending, appended.
void append_tasks(const PlanRequest& request, const StoredRange& queries, int owner,
                  const std::vector<StoredRange>& keys, std::vector<BlockTask>& tasks);

// Neighbouring rectangles that are seen as a whole made one: fewer and larger calls of a kernel, fewer merges.
std::vector<BlockTask> joined(std::vector<BlockTask> tasks);

// All samples have a plain causal or full mask.
bool is_dense(const PlanRequest& request);

}  // namespace ringtron::internal
