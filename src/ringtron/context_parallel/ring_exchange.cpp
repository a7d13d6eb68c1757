#include "ringtron/context_parallel/ring_exchange.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {

at::Tensor& RingExchange::incoming() {
  if (!incoming_.defined()) incoming_ = at::empty_like(current_);
  return incoming_;
}

void RingExchange::arrived() {
  RT_CHECK(incoming_.defined(), "a block cannot have arrived: none was under way");
  std::swap(current_, incoming_);
  if (!writable_) incoming_ = at::Tensor();
  writable_ = true;
}

Work start_messages(const Step& step, Communicator& ring, RingExchange& key_value, RingExchange* gradient) {
  if (!step.communicates()) return Work();
  const auto block_of = [&](Payload payload) -> RingExchange& {
    if (payload == Payload::key_value) return key_value;
    RT_CHECK(gradient != nullptr, "a forward plan that moves gradients");
    return *gradient;
  };
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (const Message& m : step.sends) sends.push_back({m.peer, block_of(m.payload).current()});
  for (const Message& m : step.receives) receives.push_back({m.peer, block_of(m.payload).incoming()});
  return ring.exchange(sends, receives);
}

bool receives(const Step& step, Payload payload) {
  return std::any_of(step.receives.begin(), step.receives.end(),
                     [payload](const Message& m) { return m.payload == payload; });
}

}  // namespace ringtron
