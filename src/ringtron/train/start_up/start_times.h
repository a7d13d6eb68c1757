// Where the time goes between the start of a process and the end of its first step.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ringtron/base/clock.h"

namespace ringtron {

class StartTimes {
 public:
  // The first stage, loading the program, began with the process.
  StartTimes();

  // The stage before is over. `stage` lives for ever, such as "building the model".
  void enter(const char* stage);

  // "start-up took 5.1 s: loading the program 0.9, building the model 0.6, first step 3.6", of all stages until now;
  // those below 50 ms are left out of the list.
  std::string line() const;

 private:
  std::vector<std::pair<const char*, double>> done_;  // seconds
  const char* stage_ = "loading the program";
  SteadyClock::time_point since_;
};

}  // namespace ringtron
