// Each operation: told to the wrapper, then done by the inner communicator.
#include "ringtron/comm/decorators/forwarding_communicator.h"

#include <array>
#include <utility>

namespace ringtron {

const char* to_text(CommOperation operation) {
  static constexpr std::array<const char*, 7> kNames{"all_reduce", "all_gather", "reduce_scatter", "all_to_all",
                                                     "exchange",   "broadcast",  "barrier"};
  const auto index = static_cast<std::size_t>(operation);
  return index < kNames.size() ? kNames[index] : "unknown operation";
}

Work ForwardingCommunicator::all_reduce(at::Tensor tensor, ReduceOp op) {
  if (!before({CommOperation::all_reduce, tensor, tensor, static_cast<int>(op)})) return {};
  return inner_.all_reduce(std::move(tensor), op);
}

Work ForwardingCommunicator::all_gather(at::Tensor shard, at::Tensor whole) {
  if (!before({CommOperation::all_gather, shard, whole})) return {};
  return inner_.all_gather(std::move(shard), std::move(whole));
}

Work ForwardingCommunicator::reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) {
  if (!before({CommOperation::reduce_scatter, whole, whole, static_cast<int>(op)})) return {};
  return inner_.reduce_scatter(std::move(whole), std::move(shard), op);
}

Work ForwardingCommunicator::all_to_all(at::Tensor in, at::Tensor out) {
  if (!before({CommOperation::all_to_all, in, in})) return {};
  return inner_.all_to_all(std::move(in), std::move(out));
}

Work ForwardingCommunicator::exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  if (!before({.operation = CommOperation::exchange, .sends = sends, .receives = receives})) return {};
  return inner_.exchange(sends, receives);
}

Work ForwardingCommunicator::broadcast(at::Tensor tensor, int root) {
  if (!before({.operation = CommOperation::broadcast, .given = tensor, .whole = tensor, .root = root})) return {};
  return inner_.broadcast(std::move(tensor), root);
}

void ForwardingCommunicator::barrier() {
  if (before({CommOperation::barrier})) inner_.barrier();
}

}  // namespace ringtron
