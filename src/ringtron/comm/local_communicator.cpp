// The identity operations of a group of one.
#include "ringtron/comm/local_communicator.h"

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// A group of one may be given the same memory twice; copying a tensor onto itself is not needed.
void copy_all(const at::Tensor& from, const at::Tensor& to, const char* operation) {
  RT_CHECK_EQ(from.numel(), to.numel(), operation);
  if (from.data_ptr() != to.data_ptr()) to.view({-1}).copy_(from.view({-1}));
}

}  // namespace

int LocalCommunicator::global_rank(int group_rank) const {
  RT_CHECK_EQ(group_rank, 0, "rank in a group of one");
  return global_rank_;
}

Work LocalCommunicator::all_reduce(at::Tensor, ReduceOp) { return {}; }

Work LocalCommunicator::all_gather(at::Tensor shard, at::Tensor whole) {
  copy_all(shard, whole, "elements of shard and whole in all_gather of one rank");
  return {};
}

Work LocalCommunicator::reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp) {
  copy_all(whole, shard, "elements of whole and shard in reduce_scatter of one rank");
  return {};
}

Work LocalCommunicator::all_to_all(at::Tensor in, at::Tensor out) {
  copy_all(in, out, "elements of in and out in all_to_all of one rank");
  return {};
}

Work LocalCommunicator::exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  RT_CHECK(sends.empty() && receives.empty(), "a group of one has no peer to exchange {} messages with",
           sends.size() + receives.size());
  return {};
}

Work LocalCommunicator::broadcast(at::Tensor, int root) {
  RT_CHECK_EQ(root, 0, "root of a broadcast in a group of one");
  return {};
}

}  // namespace ringtron
