// Wraps a communicator and counts what this rank sends, per kind of operation.
//
// exchange counts the bytes of its messages. For the collectives the count is the closed form of the least
// that any algorithm must send per rank on average (n ranks, S bytes of the whole tensor): all_gather,
// reduce_scatter and all_to_all S (n-1)/n, all_reduce 2 S (n-1)/n, broadcast S (n-1)/n. Fractions of a byte
// are cut off per operation.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "ringtron/comm/decorators/forwarding_communicator.h"

namespace ringtron {

struct OperationCount {
  std::int64_t calls = 0;
  std::int64_t bytes = 0;
};

struct CommunicationCounts {
  OperationCount all_reduce, all_gather, reduce_scatter, all_to_all, exchange, broadcast, barrier;
  std::int64_t total_bytes() const;
};

class CountingCommunicator final : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;
  // `on_bytes` hears of each operation's bytes, before it is done.
  CountingCommunicator(Communicator& inner, std::function<void(std::int64_t)> on_bytes)
      : ForwardingCommunicator(inner), on_bytes_(std::move(on_bytes)) {}

  const CommunicationCounts& counts() const { return counts_; }
  void reset() { counts_ = {}; }

 private:
  bool before(const CommCall& call) override;

  CommunicationCounts counts_;
  std::function<void(std::int64_t)> on_bytes_;
};

}  // namespace ringtron
