// For programs of which every rank is a process.
#pragma once

#include "ringtron/base/error.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/memory/out_of_memory.h"
#include "ringtron/train/signals.h"

namespace ringtron {

// Returns the exit code of body(signals), signals being caught from before its first instruction on. An error that
// another rank reports becomes its exit code, without a second message. What LibTorch throws becomes words.
template <class Body>
int run_as_rank(Body&& body) {
  StopSignals signals;
  disable_stack_traces();
  try {
    try {
      return body(signals);
    } catch (const std::exception&) {
      rethrow_readable(
          "A smaller --micro-batch-size, --seq-length or --hidden-size needs less; more ranks share the work");
    }
  } catch (const ConfigError& e) {
    if (dynamic_cast<const ReportedElsewhere*>(&e) == nullptr) throw;
    return kExitUsage;
  } catch (const std::exception& e) {
    if (dynamic_cast<const ReportedElsewhere*>(&e) == nullptr) throw;
    return kExitFailure;
  }
}

}  // namespace ringtron
