// A communicator whose exchanges send nothing: what would be received is zero. Everything else goes through.
#pragma once

#include "ringtron/comm/decorators/forwarding_communicator.h"

namespace ringtron {

class SilentCommunicator final : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;

 private:
  bool before(const CommCall& call) override;
};

}  // namespace ringtron
