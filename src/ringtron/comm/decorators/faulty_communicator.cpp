// Plays the script, then passes the operation on.
#include "ringtron/comm/decorators/faulty_communicator.h"

#include <fmt/format.h>

#include <csignal>
#include <thread>

#include "ringtron/base/error.h"

namespace ringtron {

bool FaultyCommunicator::before(const CommCall& call) {
  ++sequence_;
  for (const ScriptedFault& step : script_) {
    if (step.operation != sequence_) continue;
    switch (step.fault) {
      case Fault::drop:
        return false;
      case Fault::delay:
        std::this_thread::sleep_for(step.delay);
        break;
      case Fault::kill:
        std::raise(SIGKILL);
        break;
      case Fault::throw_error:
        throw CommError(fmt::format("{} group: {} number {} failed on rank {}: scripted fault", name(),
                                    to_text(call.operation), sequence_, global_rank(rank())));
      case Fault::call:
        step.action();
        break;
    }
  }
  return true;
}

}  // namespace ringtron
