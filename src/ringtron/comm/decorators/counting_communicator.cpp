// The closed forms, one per operation.
#include "ringtron/comm/decorators/counting_communicator.h"

#include <ATen/ATen.h>

namespace ringtron {
namespace {

using Counts = CommunicationCounts;

// In the order of CommOperation.
constexpr OperationCount Counts::* kCounts[] = {&Counts::all_reduce, &Counts::all_gather, &Counts::reduce_scatter,
                                                &Counts::all_to_all, &Counts::exchange,   &Counts::broadcast,
                                                &Counts::barrier};

std::int64_t bytes_of(const at::Tensor& tensor) { return tensor.numel() * tensor.element_size(); }

}  // namespace

std::int64_t CommunicationCounts::total_bytes() const {
  std::int64_t bytes = 0;
  for (const auto count : kCounts) bytes += (this->*count).bytes;
  return bytes;
}

bool CountingCommunicator::before(const CommCall& call) {
  std::int64_t bytes = 0;
  for (const Send& message : call.sends) bytes += bytes_of(message.tensor);
  if (call.whole.defined()) {
    // How often the average rank sends all but its own part.
    const int copies = call.operation == CommOperation::all_reduce ? 2 : 1;
    bytes += copies * bytes_of(call.whole) * (size() - 1) / size();
  }
  OperationCount& count = counts_.*kCounts[static_cast<std::size_t>(call.operation)];
  count.calls += 1;
  count.bytes += bytes;
  if (on_bytes_) on_bytes_(bytes);
  return true;
}

}  // namespace ringtron
