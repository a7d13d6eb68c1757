// For programs of which every rank is a process.
#pragma once

#include "ringtron/base/error.h"
#include "ringtron/train/agreement.h"

namespace ringtron {

// Returns body()'s exit code. An error that another rank reports becomes its exit code, without a second
// message.
template <class Body>
int run_as_rank(Body&& body) {
  try {
    return body();
  } catch (const ConfigError& e) {
    if (dynamic_cast<const ReportedElsewhere*>(&e) == nullptr) throw;
    return kExitUsage;
  } catch (const std::exception& e) {
    if (dynamic_cast<const ReportedElsewhere*>(&e) == nullptr) throw;
    return kExitFailure;
  }
}

}  // namespace ringtron
