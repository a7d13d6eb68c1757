// Wraps a communicator and makes chosen operations go wrong, for fault tests.
//
//   FaultyCommunicator faulty(comm, {{.operation = 3, .fault = Fault::kill}});  // the third operation,
//   counted from 1
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "ringtron/comm/decorators/forwarding_communicator.h"

namespace ringtron {

enum class Fault {
  drop,         // this rank does not take part; its wait() returns at once, the others run into their timeout
  delay,        // sleeps for `delay`, then does the operation
  kill,         // SIGKILL to this process
  throw_error,  // throws CommError without taking part
  call,         // calls `action`, then does the operation
};

struct ScriptedFault {
  std::int64_t operation = 1;  // counted from 1, all kinds together
  Fault fault = Fault::throw_error;
  std::chrono::milliseconds delay{0};
  std::function<void()> action = {};
};

class FaultyCommunicator final : public ForwardingCommunicator {
 public:
  FaultyCommunicator(Communicator& inner, std::vector<ScriptedFault> script)  // `inner` must outlive this
      : ForwardingCommunicator(inner), script_(std::move(script)) {}

 private:
  bool before(const CommCall& call) override;

  std::vector<ScriptedFault> script_;
  std::int64_t sequence_ = 0;
};

}  // namespace ringtron
