// Plays the script, then passes the operation on.
#include "ringtron/comm/decorators/faulty_communicator.h"

#include <fmt/format.h>

#include <csignal>
#include <thread>

#include "ringtron/base/error.h"

namespace ringtron {

bool FaultyCommunicator::strike(const char* operation) {
  ++sequence_;
  for (const ScriptedFault& step : script_) {
    if (step.operation != sequence_) continue;
    switch (step.fault) {
      case Fault::drop:
        return true;
      case Fault::delay:
        std::this_thread::sleep_for(step.delay);
        break;
      case Fault::kill:
        std::raise(SIGKILL);
        break;
      case Fault::throw_error:
        throw CommError(fmt::format("{} group: {} number {} failed on rank {}: scripted fault", name(), operation,
                                    sequence_, global_rank(rank())));
      case Fault::call:
        step.action();
        break;
    }
  }
  return false;
}

Work FaultyCommunicator::all_reduce(at::Tensor tensor, ReduceOp op) {
  return strike("all_reduce") ? Work() : inner().all_reduce(std::move(tensor), op);
}

Work FaultyCommunicator::all_gather(at::Tensor shard, at::Tensor whole) {
  return strike("all_gather") ? Work() : inner().all_gather(std::move(shard), std::move(whole));
}

Work FaultyCommunicator::reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) {
  return strike("reduce_scatter") ? Work() : inner().reduce_scatter(std::move(whole), std::move(shard), op);
}

Work FaultyCommunicator::all_to_all(at::Tensor in, at::Tensor out) {
  return strike("all_to_all") ? Work() : inner().all_to_all(std::move(in), std::move(out));
}

Work FaultyCommunicator::exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  return strike("exchange") ? Work() : inner().exchange(sends, receives);
}

Work FaultyCommunicator::broadcast(at::Tensor tensor, int root) {
  return strike("broadcast") ? Work() : inner().broadcast(std::move(tensor), root);
}

void FaultyCommunicator::barrier() {
  if (!strike("barrier")) inner().barrier();
}

}  // namespace ringtron
