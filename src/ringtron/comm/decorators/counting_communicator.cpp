// The closed forms, one per operation.
#include "ringtron/comm/decorators/counting_communicator.h"

#include <ATen/ATen.h>

namespace ringtron {
namespace {

std::int64_t bytes_of(const at::Tensor& tensor) { return tensor.numel() * tensor.element_size(); }

}  // namespace

std::int64_t CommunicationCounts::total_bytes() const {
  return all_reduce.bytes + all_gather.bytes + reduce_scatter.bytes + all_to_all.bytes + exchange.bytes +
         broadcast.bytes + barrier.bytes;
}

void CountingCommunicator::count(OperationCount& count, std::int64_t whole_bytes, int copies) const {
  count.calls += 1;
  count.bytes += copies * whole_bytes * (size() - 1) / size();
}

Work CountingCommunicator::all_reduce(at::Tensor tensor, ReduceOp op) {
  count(counts_.all_reduce, bytes_of(tensor), 2);
  return inner().all_reduce(std::move(tensor), op);
}

Work CountingCommunicator::all_gather(at::Tensor shard, at::Tensor whole) {
  count(counts_.all_gather, bytes_of(whole), 1);
  return inner().all_gather(std::move(shard), std::move(whole));
}

Work CountingCommunicator::reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) {
  count(counts_.reduce_scatter, bytes_of(whole), 1);
  return inner().reduce_scatter(std::move(whole), std::move(shard), op);
}

Work CountingCommunicator::all_to_all(at::Tensor in, at::Tensor out) {
  count(counts_.all_to_all, bytes_of(in), 1);
  return inner().all_to_all(std::move(in), std::move(out));
}

Work CountingCommunicator::exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  counts_.exchange.calls += 1;
  for (const Send& message : sends) counts_.exchange.bytes += bytes_of(message.tensor);
  return inner().exchange(sends, receives);
}

Work CountingCommunicator::broadcast(at::Tensor tensor, int root) {
  count(counts_.broadcast, bytes_of(tensor), 1);
  return inner().broadcast(std::move(tensor), root);
}

void CountingCommunicator::barrier() {
  counts_.barrier.calls += 1;
  inner().barrier();
}

}  // namespace ringtron
