// Wraps a communicator and verifies, before each operation, that all ranks of the group call the same one:
// operation, sequence number, reduction, root, element type and size. A rank that differs gives every rank a
// CommError that prints all sides. exchange() checks that each pair's messages match in number, type and
// size. Costs one small all_gather per operation: for tests and diagnosis. On CUDA the fingerprints go over
// `control`.
#pragma once

#include <memory>

#include "ringtron/comm/decorators/forwarding_communicator.h"

namespace ringtron {

class CheckedCommunicator final : public ForwardingCommunicator {
 public:
  // `inner` moves the data; `control` moves the fingerprints (CPU tensors) and has the same ranks. They may
  // be the same communicator when it takes CPU tensors. Both must outlive this.
  CheckedCommunicator(Communicator& inner, Communicator& control);

 private:
  bool before(const CommCall& call) override;
  struct Fingerprint;
  void agree(const Fingerprint& mine);
  void agree_on_messages(std::span<const Send> sends, std::span<const Receive> receives);

  Communicator& control_;
  std::int64_t sequence_ = 0;
};

}  // namespace ringtron
