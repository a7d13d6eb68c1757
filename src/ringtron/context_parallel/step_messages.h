// The messages of one step of a plan: as tensors, and on their way.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/held_blocks.h"
#include "ringtron/context_parallel/kept_exchange.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan_runner.h"

namespace ringtron::internal {

// Messages of one step on their way.
struct Hop {
  Work work;
  std::vector<at::Tensor> kept;  // being sent
  std::vector<std::pair<Message, KeyValue>> arriving;
};

// Sends what is held, and of `sums` (null: a forward, which sends none) what the step takes; nothing where the step does not
// communicate.
Hop start_messages(const Step& step, const PlanContext& context, const HeldBlocks& held, GradientSums* sums);

// What came in this step of an earlier forward; nothing is sent.
Hop replayed(std::size_t step, KeptBlocks& kept, const HeldBlocks& held);

}  // namespace ringtron::internal
