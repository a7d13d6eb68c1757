// Tells a RunObserver, if there is one, that something begins here and ends with the scope.
#pragma once

#include <string_view>

#include "ringtron/context_parallel/context_parallel.h"

namespace ringtron::internal {

class Observed {
 public:
  // `step` of the plan; -1: outside it.
  Observed(RunObserver* observer, std::string_view what, int step = -1) : observer_(observer) {
    if (observer_ != nullptr) observer_->begin(what, step);
  }
  ~Observed() {
    if (observer_ != nullptr) observer_->end();
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;

 private:
  RunObserver* observer_;
};

}  // namespace ringtron::internal
